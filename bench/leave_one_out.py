"""Leave-one-out, the protocol of the published tables, by the code that serves: each user's last item is asked for.

    python -m bench.leave_one_out DIR [--users N] [--examples N] [--validated N] [--seeds 1] [--json]

DIR has `leave_one_out.jsonl.gz` (user, items in order) and, if the items have titles, `titles.jsonl.gz`. The order of a
history is all that is known of time, so every event has the same. Everything is ranked that the user does not have;
what no source proposes counts as missed.

State is frozen twice. First it knows all but the last two items of each history: the ranker learns from the last but
one of some users, and on other users' every choice is made (how many trees; how much of the plain counts and words is
added to the ranker's order). Then the last but one is absorbed, and the last is asked for, once.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.online_state import OnlineState, measured
from store.events import Engagement, Upload
from store.settings import Settings, settings_from
from trainer.content.encoders import text_encoder
from trainer.examples import request_of
from trainer.ranking.ranker import Ranker

AT_S = 1.4e9
TREES = (100, 300)
MIXES = (0.0, 0.5, 1.0, 2.0)
"""What counts and words together, standardised over the candidates, weigh beside the ranker's standardised score."""
PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    "amazon-beauty": {
        "SASRec (in TIGER's table)": (0.0605, 0.0318),
        "TIGER": (0.0648, 0.0384),
        "SASRec, sampled softmax": (0.0921, 0.0531),
        "EnsRec": (0.0980, 0.0565),
        "PCTM (counts)": (0.0998, 0.0635),
    },
    "amazon-sports": {
        "TIGER": (0.0400, 0.0225),
        "PCTM (counts)": (float("nan"), 0.0368),
        "sequential rules": (float("nan"), 0.0371),
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("users", 0), ("examples", 8000), ("validated", 1000), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.folder, chosen.users, chosen.examples, chosen.validated, chosen.seeds)
    print(json.dumps(found) if chosen.json else table(found))


def measure(
    folder: Path, users: int = 0, examples: int = 8000, validated: int = 1000, seeds: int = 1
) -> dict[str, Any]:
    """Everything that is measured, by seed; of `users` users only (0: of all)."""
    histories = read_histories(folder)
    runs = [run(folder, histories, users, examples, validated, seed) for seed in range(seeds)]
    mean = {name: float(np.mean([one["test"][name] for one in runs])) for name in runs[0]["test"]}
    return {"set": folder.name, "users": len(histories), "mean": mean, "seeds": runs}


def run(
    folder: Path, histories: dict[str, list[str]], users: int, examples: int, validated: int, seed: int
) -> dict[str, Any]:
    """One seed: it decides which users teach, which choose, and which are tested."""
    began = time.process_time()
    rng = np.random.default_rng(seed)
    order = rng.permutation(list(histories)).tolist()
    state = state_before_last(folder, histories, seed)
    choosing, teaching = order[:validated], order[validated : validated + examples]
    for number, user_id in enumerate(teaching):
        state.teach(event_of(user_id, histories[user_id], 2))
        _progress("examples", number, len(teaching))
    ranker, trees, mix, tried = choose(state, [event_of(user_id, histories[user_id], 2) for user_id in choosing])
    state.recommender.exchange_ranker(ranker)
    for user_id, items in histories.items():
        state.absorb(event_of(user_id, items, 2))
    state.publish()
    tested = rng.permutation(order)[: users or len(order)].tolist()
    places: dict[str, list[int]] = {"test": [], "ranker alone": [], "counts and words alone": []}
    for number, user_id in enumerate(tested):
        event = event_of(user_id, histories[user_id], 1)
        for name, place in zip(places, places_of(state, event, (mix, 0.0, np.inf)), strict=True):
            places[name].append(place)
        _progress("test", number, len(tested))
    return {
        "seed": seed,
        **{name: measured(some) for name, some in places.items()},
        "chosen": {"trees": trees, "mix": mix},
        "validation": tried,
        "cpu_s": round(time.process_time() - began, 1),
    }


def read_histories(folder: Path) -> dict[str, list[str]]:
    """User → items, oldest first."""
    with gzip.open(folder / "leave_one_out.jsonl.gz") as lines:
        return {row["user_id"]: row["items"] for row in map(msgspec.json.decode, lines)}


def state_before_last(folder: Path, histories: dict[str, list[str]], seed: int) -> OnlineState:
    """All items live, and all but the last two items of each history absorbed, users mixed as they come."""
    titles: dict[str, str] = {}
    if (folder / "titles.jsonl.gz").exists():
        with gzip.open(folder / "titles.jsonl.gz") as lines:
            titles = {row["item_id"]: row["title"] for row in map(msgspec.json.decode, lines)}
    state = OnlineState(settings(), text_encoder("static"), batch=1024, bulk=True)
    items = dict.fromkeys(item for history in histories.values() for item in history)
    state.upload([Upload(item_id=item, uploaded_at=AT_S, title=titles.get(item, "")) for item in items])
    rng = np.random.default_rng(seed)
    events = [
        (place + rng.random(), user_id, last)
        for user_id, history in histories.items()
        for place, last in enumerate(range(len(history), 2, -1))
    ]
    for number, (_, user_id, last) in enumerate(sorted(events)):
        state.absorb(event_of(user_id, histories[user_id], last))
        _progress("training", number, len(events))
    state.publish()
    return state


def settings() -> Settings:
    """The defaults, with more transitions kept of each item, more proposed by counts and words, and more candidates in
    each of the few examples: nothing is asked of these answers but that they are right."""
    return settings_from(
        {
            "items": {"neighbours": 256},
            "ranking": {"negatives": 160},
            "candidates": {"quotas": {"counts": 300, "words": 300, "together": 200}},
        }
    )


def event_of(user_id: str, history: list[str], last: int) -> Engagement:
    """The item at that place from the end as an engagement."""
    item = history[len(history) - last]
    return Engagement(event_id=f"{user_id}/{item}", user_id=user_id, item_id=item, kind="purchase", occurred_at=AT_S)


def choose(state: OnlineState, events: list[Engagement]) -> tuple[Ranker, int, float, dict[str, Any]]:
    """The ranker and the mix with the highest NDCG at 10 on these engagements, and what each reached."""
    tried: dict[str, Any] = {}
    best: tuple[float, Ranker, int, float] | None = None
    for trees in TREES:
        state.learner.rules = replace(state.learner.rules, trees=trees)
        state.fit()
        places = np.array([places_of(state, event, MIXES) for event in events])
        for mix, column in zip(MIXES, places.T, strict=True):
            found = tried[f"{trees} trees, mix {mix:g}"] = measured(column)
            if best is None or found["N@10"] > best[0]:
                best = (found["N@10"], state.recommender.ranker, trees, mix)
    assert best is not None
    return *best[1:], tried


def places_of(state: OnlineState, event: Engagement, mixes: tuple[float, ...]) -> list[int]:
    """The true item's place with each mix (infinite: counts and words alone), -1 if it is no candidate."""
    ranking = state.recommender.rank(request_of(event), state.users.get(event.user_id))
    true = np.flatnonzero(ranking.handles_B == state.recommender.catalog.handles[event.item_id])
    if not len(true):
        return [-1] * len(mixes)
    plain_B = standard(ranking.evidence.of("counts_and_words", ranking.handles_B))
    ranked_B = standard(np.log(np.clip(ranking.scores_B, 1e-9, None)))
    scores = (plain_B if np.isinf(mix) else ranked_B + mix * plain_B for mix in mixes)
    return [int(np.sum(score_B > score_B[true[0]])) for score_B in scores]


def standard(score_B: np.ndarray) -> np.ndarray:
    """With mean 0 and deviation 1."""
    return np.asarray((score_B - score_B.mean()) / (score_B.std() + 1e-9))


def table(found: dict[str, Any]) -> str:
    """Ours beside the published figures, as lines."""
    lines = [f"{found['set']}: {found['users']:,} users", f"{'':32} {'R@10':>8} {'N@10':>8}"]
    lines += [f"{name:32} {r:8.4f} {n:8.4f}" for name, (r, n) in PUBLISHED.get(found["set"], {}).items()]
    for name in ("counts and words alone", "ranker alone", "test"):
        one = found["seeds"][0][name]
        lines.append(f"sidestream, {name:20} {one['R@10']:8.4f} {one['N@10']:8.4f} ± {one['N@10 ±']:.4f}")
    return "\n".join([*lines, f"chosen on validation: {found['seeds'][0]['chosen']}"])


def _progress(what: str, number: int, total: int) -> None:
    if number % 1000 == 0:
        print(f"{what}: {number:,} of {total:,}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
