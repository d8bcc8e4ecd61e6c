"""What precomputed lists answer of a recorded stream's requests, what that saves, and how old and how true they are.

    python -m bench.tables DIR [--events 12000] [--requests 2000] [--per-s 50] [--share 0.05] [--pages] [--json]

The first `--events` of the stream are replayed. Before each of the last `--requests` its user asks; with `--pages`
somebody without a name opens the engaged item's page after it, which asks what is like it. Requests come `--per-s`, on
a clock of their own: a list's age and the share of the time that lists may take are by that clock (event time runs as
much faster as the stream is slower, so lists age more than they would). Each list is compared with the live answer when
it is made, and each tenth look-up with the live answer of its moment. Cost is processor time of one thread. Then the
look-up alone is asked as fast as it can, by the second of processor time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from store.events import Engagement, Upload
from store.histories import UserRow
from store.requests import Request
from store.settings import Settings
from trainer.answers import Served
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.evaluation.recorded_streams import read_events
from trainer.examples import request_of
from trainer.recommender import Recommender
from trainer.tables.questions import Question
from trainer.tables.table import Table, TableRules

COMPARED = 10
"""Of so many look-ups one is compared with the live answer; of so many live answers one is timed."""
LOOKUPS = 20_000
FADED_EVERY_S = 60.0


@dataclass(slots=True)
class Tally:
    """Requests by what became of them, and processor time."""

    results: Counter[str] = field(default_factory=Counter)
    by_task: Counter[str] = field(default_factory=Counter)
    live_s: list[float] = field(default_factory=list)
    lookup_s: float = 0.0
    computing_s: float = 0.0
    made: int = 0
    equal: int = 0
    ages_s: list[float] = field(default_factory=list)
    kept_items: list[float] = field(default_factory=list)
    kept_first: list[bool] = field(default_factory=list)

    def figures(self, table: Table) -> dict[str, float]:
        asked = sum(self.results.values())
        answered, mean_s = self.results["answered"], float(np.mean(self.live_s))
        without_s = asked * mean_s
        with_s = (asked - answered) * mean_s + self.lookup_s + self.computing_s
        return {
            "requests": asked,
            **{f"share_{name}": count / asked for name, count in sorted((self.results | self.by_task).items())},
            "live_cpu_ms": 1000 * mean_s,
            "lookup_cpu_us": 1e6 * self.lookup_s / asked,
            "lists_made": self.made,
            "lists_equal_when_made": self.equal / max(1, self.made),
            "computing_cpu_s": self.computing_s,
            "cpu_saved_share": 1.0 - with_s / without_s,
            "age_p50_s": _percentile(self.ages_s, 50),
            "age_p99_s": _percentile(self.ages_s, 99),
            "same_items_when_asked": float(np.mean(self.kept_items)) if self.kept_items else float("nan"),
            "same_first_when_asked": float(np.mean(self.kept_first)) if self.kept_first else float("nan"),
            "lists": len(table),
            "kib_per_list": table.bytes / max(1, len(table)) / 1024,
        }


class Asked:
    """One recommender with a table, asked at a pace."""

    def __init__(self, recommender: Recommender, users: Callable[[str], UserRow | None], share: float) -> None:
        self.tally = Tally()
        self.now_s = 0.0
        self.table = Table(recommender, TableRules(), lambda: self.now_s)
        self._recommender = recommender
        self._users = users
        self._share = share
        self._faded_s = 0.0
        self.table.clear()

    def advance(self, now_s: float) -> None:
        """Makes lists for as long as their share of the time allows."""
        self.now_s = now_s
        if now_s - self._faded_s >= FADED_EVERY_S:
            self._faded_s = now_s
            self.table.demand.fade()
        for question in self.table.due():
            if self.tally.computing_s >= self._share * now_s:
                return
            self.make(question)

    def make(self, question: Question) -> None:
        began_s = time.thread_time()
        computed = self.table.compute(question)
        self.tally.computing_s += time.thread_time() - began_s
        self.table.put(question, computed)
        if computed.listed is not None:
            self.tally.made += 1
            live = self._live(question.request(10), None)
            self.tally.equal += list(computed.listed.items[:10]) == live.answer.items

    def ask(self, request: Request, user_id: str = "") -> None:
        user = self._users(user_id) if user_id else None
        began_s = time.thread_time()
        found = self.table.find(request, user)
        self.tally.lookup_s += time.thread_time() - began_s
        if found.served is not None:
            self._count(request, "answered")
            self.tally.ages_s.append(found.age_s)
            if self.tally.results["answered"] % COMPARED == 0:
                self._compare(found.served, self._live(request, None))
            return
        self._count(request, "missing" if found.question is not None else "personal")
        if sum(self.tally.results.values()) % COMPARED == 0:
            began_s = time.thread_time()
            self._live(request, user)
            self.tally.live_s.append(time.thread_time() - began_s)

    def _count(self, request: Request, result: str) -> None:
        self.tally.results[result] += 1
        self.tally.by_task[f"{request.task}_{result}"] += 1

    def _live(self, request: Request, user: UserRow | None) -> Served:
        return self._recommender.answer(request, user, explores=False)

    def _compare(self, served: Served, live: Served) -> None:
        told, now = ([line.item_id for line in one.answer.items] for one in (served, live))
        self.tally.kept_items.append(len({*told} & {*now}) / max(1, len(now)))
        self.tally.kept_first.append(told[:1] == now[:1])


def measure(
    folder: Path, *, events: int, requests: int, per_s: float, share: float, pages: bool
) -> tuple[dict[str, float], Asked]:
    settings = Settings()
    settings = msgspec.structs.replace(settings, serving=msgspec.structs.replace(settings.serving, explore_share=0.0))
    engagements = read_events(folder, "engagements", Engagement)[:events]
    uploads = read_events(folder, "uploads", Upload)
    options = ReplayOptions(sample=0, examples=0.05, within_limit=0, baselines=False)
    replay = Replay(uploads, engagements, text_encoder(settings.content.encoder), options, settings)
    asked, begin = None, len(engagements) - requests
    for place in replay.steps():
        if place < begin:
            continue
        if asked is None:
            replay.top(place)  # fits the ranker that is due
            asked = Asked(replay.recommender, replay.users.get, share)
        event = engagements[place]
        asked.advance((place - begin) / per_s)
        asked.ask(request_of(event), event.user_id)
        if pages:
            asked.ask(Request(task="similar", item_id=event.item_id))
    assert asked is not None
    return asked.tally.figures(asked.table), asked


def lookups_per_s(asked: Asked) -> float:
    """How many look-ups of one list a thread does in a second of processor time."""
    request = Request(user_id="nobody", task="home")
    asked.make(Question("home"))
    began_s, answered = time.thread_time(), 0
    for _ in range(LOOKUPS):
        answered += asked.table.find(request, None).served is not None
    assert answered == LOOKUPS
    return LOOKUPS / (time.thread_time() - began_s)


def _percentile(values: list[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=12_000)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--per-s", type=float, default=50.0)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--pages", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found, asked = measure(
        chosen.folder,
        events=chosen.events,
        requests=chosen.requests,
        per_s=chosen.per_s,
        share=chosen.share,
        pages=chosen.pages,
    )
    found["lookups_per_s"] = lookups_per_s(asked)
    print(json.dumps(found) if chosen.json else "\n".join(f"{name:24} {value:,.3f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
