"""Leave-one-out: the last item is never learned from, words and counts find it, and every choice is made before it."""

from __future__ import annotations

import gzip
import math
import random
from pathlib import Path

import msgspec
import pytest

from bench import leave_one_out
from bench.online_state import measured

ITEMS = [f"{kind}{n}" for n in range(30) for kind in ("spade", "string")]


def folder_of(path: Path, histories: dict[str, list[str]], titles: bool = True) -> Path:
    rows = [{"user_id": user, "items": items} for user, items in histories.items()]
    path.mkdir()
    with gzip.open(path / "leave_one_out.jsonl.gz", "wb") as lines:
        lines.write(b"\n".join(map(msgspec.json.encode, rows)))
    if titles:
        named = [
            {"item_id": item, "title": f"{'garden spade' if 'spade' in item else 'guitar string'} {item}"}
            for item in ITEMS
        ]
        with gzip.open(path / "titles.jsonl.gz", "wb") as lines:
            lines.write(b"\n".join(map(msgspec.json.encode, named)))
    return path


def histories(count: int = 80) -> dict[str, list[str]]:
    rng = random.Random(0)
    return {f"u{n}": rng.sample(ITEMS[n % 2 :: 2], 6) for n in range(count)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = folder_of(tmp_path_factory.mktemp("sets") / "toys", histories())
    return leave_one_out.measure(folder, users=40, examples=40, validated=20)


def test_tastes_are_found_far_above_chance(found: dict[str, object]) -> None:
    assert found["mean"]["evaluated"] == 40  # type: ignore[index]
    assert found["mean"]["R@10"] > 1.5 * 10 / 55  # type: ignore[index]  # chance: 10 of the 55 that a user lacks


def test_what_was_chosen_is_the_best_on_validation(found: dict[str, object]) -> None:
    run = found["seeds"][0]  # type: ignore[index]
    best = max(run["validation"].values(), key=lambda one: one["N@10"])
    assert len(run["validation"]) == len(leave_one_out.TREES) * len(leave_one_out.MIXES)
    assert run["validation"][f"{run['chosen']['trees']} trees, mix {run['chosen']['mix']:g}"] == best
    assert "ranker alone" in leave_one_out.table(found)


def test_the_last_item_is_never_learned_from(tmp_path: Path) -> None:
    """With other last items the state is the same."""
    given = histories(40)
    changed = {user: [*items[:-1], next(i for i in ITEMS if i not in items)] for user, items in given.items()}
    seen = []
    for name, some in (("given", given), ("changed", changed)):
        state = leave_one_out.state_before_last(folder_of(tmp_path / name, some), some, 0)
        for user, items in some.items():
            state.absorb(leave_one_out.event_of(user, items, 2))
        state.publish()
        catalog = state.recommender.catalog
        seen.append({item: float(catalog.positives_N[handle]) for item, handle in catalog.handles.items()})
    assert {item for item in seen[0] if seen[0][item]} == {item for item in seen[1] if seen[1][item]}
    assert all(seen[1].get(item, 0.0) == count for item, count in seen[0].items())
    assert sum(seen[0].values()) == 40 * 5


def test_hits_and_gains_by_hand() -> None:
    one = measured([0, 9, 10, -1])
    assert (one["evaluated"], one["R@10"], one["proposed"]) == (4, 0.5, 0.75)
    assert one["N@10"] == pytest.approx((1 + 1 / math.log2(11)) / 4)
    assert one["R@10 ±"] == pytest.approx(1.96 * 0.5 / 2)
