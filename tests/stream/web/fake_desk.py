"""A desk in memory: a family of checkpoints, letters, owners and topics, for the page and its routes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from store.records.levers import Lever
from store.requests import DeskError

LONG = "Köln bei Nacht, and a title that goes on " * 4
HOSTILE = "<img src=x onerror=window.hacked=1>"
METRICS = {
    "candidate.overall.hr@10": 0.212, "serving.overall.hr@10": 0.198, "popular.overall.hr@10": 0.071,
    "candidate.overall.ndcg@10": 0.118, "serving.overall.ndcg@10": 0.109, "popular.overall.ndcg@10": 0.031,
    "candidate.fresh.hr@10": 0.091, "serving.fresh.hr@10": 0.088, "popular.fresh.hr@10": 0.012,
    "gain.serving.overall.nats": 0.021, "gain.serving.overall.nats.low": 0.004, "gain.serving.overall.nats.high": 0.038,
    "gain.serving.overall.events": 1480.0, "candidate.answer_ms": 7.2,
}  # fmt: skip


def checkpoint(
    number: int, parent: int | None, verdict: str, *, gate: str = "", hours_ago: float = 1.0
) -> dict[str, Any]:
    reasons = {
        "refused": ["overall: the system is better without it, in nats: -0.012 (-0.020 to -0.004)"],
        "promoted": ["overall: NDCG@10 0.0910, the serving checkpoint 0.1090, on 1480 events"],
    }
    return {
        "checkpoint": f"20261128T0{number}0000-000{number}",
        "parent": None if parent is None else f"20261128T0{parent}0000-000{parent}",
        "location": "there",
        "verdict": verdict,
        "gate": gate or verdict,
        "published_at": time.time() - 3600 * hours_ago,
        "codebook": "v0",
        "data_until": time.time() - 3600 * hours_ago - 60,
        "reasons": reasons.get(verdict, ["scores on 1480 held-out engagements, NDCG@10 and hits@10: candidate 0.118"]),
    }


class FakeDesk:
    """Implements `stream.web.console.contract.Desk`; `fault` is raised by whatever is asked."""

    def __init__(self, *, empty: bool = False) -> None:
        self.fault: Exception | None = None
        self.pulled: list[tuple[str, str]] = []
        self.replayed: list[tuple[int, int]] = []
        self.serving = None if empty else "20261128T040000-0004"
        family = [
            checkpoint(1, None, "passed", hours_ago=6),
            checkpoint(2, 1, "passed", hours_ago=5),
            checkpoint(3, 2, "refused", hours_ago=4),
            checkpoint(4, 2, "passed", hours_ago=3),
            checkpoint(5, 4, "promoted", gate="refused", hours_ago=1.5),
            checkpoint(6, 4, "refused", hours_ago=0.5),
        ]
        self.family = [] if empty else family
        now = time.time()
        act = {
            "action": "promote",
            "checkpoint": family[4]["checkpoint"],
            "at": now - 5000,
            "by": "person",
            "reason": "",
        }
        back = {"action": "rollback", "checkpoint": family[3]["checkpoint"], "at": now - 4400, "by": "worker"}
        harm = "its own answers hit 0.08, less than 0.7 of the 0.19 of the one before"
        self.acts = [] if empty else [act, {**back, "reason": harm}]
        self.runs = [] if empty else _runs(now)
        self.empty = empty

    def _try(self) -> None:
        if self.fault is not None:
            raise self.fault

    def lineage(self) -> dict[str, Any]:
        self._try()
        return {"serving": self.serving, "note": "", "checkpoints": self.family, "acts": self.acts, "runs": self.runs}

    async def checkpoint(self, checkpoint: str) -> dict[str, Any] | None:
        self._try()
        found = next((each for each in self.family if each["checkpoint"] == checkpoint), None)
        told = {
            "metrics": METRICS,
            "lineage": self.family[0]["checkpoint"] if self.family else "",
            "code_version": "0.1",
        }
        return None if found is None else {**found, **told, "teacher": None}

    async def pull(self, lever: Lever, checkpoint: str, seen_serving: str | None) -> None:
        self._try()
        if seen_serving != self.serving:
            raise DeskError(f"{self.serving} serves by now: look again", conflict=True)
        self.pulled.append((lever, checkpoint))
        self.serving = checkpoint

    async def letters(self) -> dict[str, Any]:
        self._try()
        letters = [] if self.empty else [_letter(self, number) for number in range(6)]
        reasons = {} if self.empty else {"missing_field": 4, "wrong_width": 2}
        return {"looked_at": 500, "found": len(letters), "by_reason": reasons, "letters": letters}

    async def replay(self, places: Sequence[tuple[int, int]]) -> dict[str, Any]:
        self._try()
        self.replayed += places
        return {"sent": len(places), "left": 0}

    async def owners(self) -> dict[str, Any]:
        self._try()
        urls = ["http://worker-1:8470", "http://worker-2:8470", None if self.empty else "http://worker-3:8470"]
        stages = (
            "upload_to_semantic_id",
            "upload_to_recommendable",
            "engagement_to_history",
            "engagement_to_embedding",
        )
        due = {"overdue_after_s": 21.0, "missing": 1 if self.empty else 0}
        partition = [
            {
                "partition": n,
                "url": urls[n % 3],
                "here": ["engagements", "item-signals"] if n % 3 == 0 else [],
                "lag": lag,
            }
            for n, lag in enumerate([{"engagements": 12, "uploads": 0}] * 5 + [{}])
        ]
        workers = [
            {"url": urls[0], "here": True, "ready": True, "reason": "ready", "partitions": [0, 3]},
            {"url": urls[1], "here": False, "ready": False, "reason": "restoring the rows", "partitions": [1, 4]},
            {"url": "http://worker-3:8470", "here": False, "ready": None, "reason": "it is away", "partitions": [2, 5]},
        ]
        ages = {"0": 3.0, "1": 4.1, "2": 47.0}
        canaries = [] if self.empty else [{"stage": stage, "ages_s": ages, **due} for stage in stages]
        return {"here": urls[0], "generation": 3, "partitions": partition, "workers": workers, "canaries": canaries}

    async def topics(self, prefix: Sequence[int]) -> dict[str, Any] | None:
        self._try()
        deep = len(prefix) >= 3
        sizes = [] if deep or self.empty else [420, 310, 120, 95, 60, 44, 30, 21, 12, 8, 4, 2, 1, 1]
        whole = 0 if self.empty else 1127
        topics = [
            {"code": 7 * n, "items": size, "words": [["bread", "oven"], ["winter", "forest"], ["night", "city"]][n % 3],
             "titles": ["Sourdough for beginners", LONG, HOSTILE][: 1 + n % 3]}
            for n, size in enumerate(sizes)
        ]  # fmt: skip
        members = [{"item_id": f"i{n}", "title": HOSTILE if n == 1 else f"Sourdough, part {n}"} for n in range(20)]
        return {
            "codebook": "v0", "levels": 3, "prefix": list(prefix), "items": whole, "words": ["bread"] if prefix else [],
            "topics": topics, "others": {"topics": 5 if topics else 0, "items": 9 if topics else 0},
            "members": members if deep else [],
        }  # fmt: skip


def _runs(now: float) -> list[dict[str, Any]]:
    def steps(run: str, begun: float, *states: str) -> dict[str, Any]:
        told = [
            {"run": run, "state": state, "at": begun + 40.0 * n, "detail": f"{state} so far", "ended": False}
            for n, state in enumerate(states)
        ]
        told[-1]["ended"] = states[-1] in ("published", "refused", "failed")
        return {"run": run, "asked_at": begun - 2, "steps": told}

    return [
        steps("run-one", now - 9000, "started", "trained", "gated", "published"),
        steps("run-two", now - 2000, "queued", "started", "trained", "gated", "refused"),
        steps("run-three", now - 100, "queued", "started", "trained"),
        {"run": "run-four", "asked_at": now - 20, "steps": []},
    ]


def _letter(desk: FakeDesk, number: int) -> dict[str, Any]:
    replayed, event = (0, number) in desk.replayed or number == 4, number != 5
    return {
        "partition": 0, "offset": number, "reason": "wrong_width" if number % 3 == 1 else "missing_field",
        "detail": "user_id: required" if number % 3 != 1 else "a vector of 3 numbers, not 64", "key": "u1",
        "topic": "sidestream.engagements" if event else "payments", "lay_at": [number % 3, 1234 + number],
        "came_at": time.time() - 600 * number if number != 3 else None, "bytes": 80,
        "text": '{"item_id": "i1", "kind": "click", "title": "' + HOSTILE + '"}' + " and on" * 60 * (number == 2),
        "replayed": replayed, "may_replay": event and not replayed,
    }  # fmt: skip
