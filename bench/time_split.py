"""A split in time, by the code that serves: the last tenth of a recorded stream, each next engagement a target.

    python -m bench.time_split DIR [--users N] [--examples N] [--online] [--json]

Up to the cut, nine tenths of the engagements, everything is learned; some of the second half before it teach the
ranker. After it each engagement of somebody with a history is a target, ranked among all live items that the user does
not have. Frozen, everything about items stands as it was at the cut while histories grow, as the published models are
judged (time-to-split, RecSys 2025); `--online` goes on learning, as a running system does.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from bench.online_state import OnlineState, measured
from store.events import Engagement, Upload
from store.settings import Settings
from trainer.content.encoders import text_encoder
from trainer.evaluation.recorded_streams import evaluable_places, read_events

CUT = 0.9
PUBLISHED = {"amazon-beauty": (0.048, 0.028), "yoochoose-clicks": (0.187, 0.110)}
"""HR@10 and NDCG@10 of the best of SASRec+, BERT4Rec and GRU4Rec; the YooChoose published is another part of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("users", 0), ("examples", 10_000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--online", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.folder, chosen.users, chosen.examples, chosen.online, chosen.seed)
    print(json.dumps(found) if chosen.json else table(found))


def measure(
    folder: Path, users: int = 0, examples: int = 10_000, online: bool = False, seed: int = 0
) -> dict[str, Any]:
    """What is hit of the targets of `users` users (0: of all), and of those whose item was engaged with before the
    cut."""
    began = time.process_time()
    uploads, events = read_events(folder, "uploads", Upload), read_events(folder, "engagements", Engagement)
    targets = targets_of(uploads, events, users, seed)
    ranks = ranks_of(uploads, events, targets, examples, online, seed)
    known = {event.item_id for event in events[: cut_of(events)]}
    return {
        "stream": folder.name,
        "learning": "online" if online else "frozen at the cut",
        "all": measured(ranks.values()),
        "items known at the cut": measured(rank for place, rank in ranks.items() if events[place].item_id in known),
        "cpu_s": round(time.process_time() - began, 1),
    }


def cut_of(events: list[Engagement]) -> int:
    """The first place that is not learned beforehand."""
    return int(CUT * len(events))


def ranks_of(
    uploads: list[Upload],
    events: list[Engagement],
    targets: set[int],
    examples: int = 10_000,
    online: bool = False,
    seed: int = 0,
) -> dict[int, int]:
    """Each target's place in the ranking of its moment (from 0; -1: no candidate)."""
    cut, rng = cut_of(events), np.random.default_rng(seed)
    taught = set((cut // 2 + rng.choice(cut - cut // 2, min(examples, cut - cut // 2), replace=False)).tolist())
    state, waiting, ranks = OnlineState(Settings(), text_encoder("static")), deque(uploads), {}
    for place, event in enumerate(events):
        if place == cut:
            state.publish()
            state.fit()
        frozen = place >= cut and not online
        if not frozen:
            state.upload(_due(waiting, event.occurred_at))
        state.recommender.observe(event.occurred_at)
        if not frozen and place >= cut // 2:
            state.recommender.maintain()
        if place in targets:
            ranks[place] = state.rank(event)
        elif place in taught:
            state.teach(event)
        state.absorb(event, frozen=frozen)
        if place % 2000 == 0:
            print(f"{place:,} of {len(events):,} engagements", file=sys.stderr, flush=True)
    return ranks


def _due(waiting: deque[Upload], now_s: float) -> list[Upload]:
    """Takes what has been uploaded by now."""
    due = []
    while waiting and waiting[0].uploaded_at <= now_s:
        due.append(waiting.popleft())
    return due


def targets_of(uploads: list[Upload], events: list[Engagement], users: int = 0, seed: int = 0) -> set[int]:
    """Places after the cut whose user has a history, and whose item is live and new to the user."""
    first = set({event.user_id: place for place, event in reversed(list(enumerate(events)))}.values())
    weights = Settings().events.weights
    places = [p for p in evaluable_places(uploads, events, weights, evaluated_from=CUT) if p not in first]
    after = sorted({events[place].user_id for place in places})
    rng = np.random.default_rng(seed)
    chosen = set(rng.choice(after, min(users, len(after)), replace=False).tolist()) if users else set(after)
    return {place for place in places if events[place].user_id in chosen}


def table(found: dict[str, Any]) -> str:
    """Ours beside the published figures, as lines."""
    lines = [f"{found['stream']}, {found['learning']}", f"{'':32} {'R@10':>8} {'N@10':>8}"]
    if found["stream"] in PUBLISHED:
        r, n = PUBLISHED[found["stream"]]
        lines.append(f"{'best published':32} {r:8.4f} {n:8.4f}")
    for name in ("all", "items known at the cut"):
        one = found[name]
        lines.append(f"{name:32} {one['R@10']:8.4f} {one['N@10']:8.4f} ± {one['N@10 ±']:.4f}, {one['evaluated']:,}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
