"""An example holds rows: the true item's, others', and cold ones; of what no scorer can have made it says why."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from trainer.ranking.columns import NAMES
from trainer.ranking.example import Example


def rows(count: int) -> bytes:
    """Row n holds the number n in each column."""
    return np.repeat(np.arange(count, dtype="<f2"), len(NAMES)).tobytes()


EXAMPLE = Example(
    user_id="u",
    item_id="i",
    task="home",
    kind="click",
    occurred_at=1.6e9,
    weight=1.0,
    rank=3,
    candidates=90,
    source="follows",
    positives=0,
    age_s=60.0,
    history=2,
    columns=len(NAMES),
    cold_negatives=2,
    features=rows(6),
)


def made(**changes: Any) -> Example:
    return msgspec.structs.replace(EXAMPLE, **changes)


def numbers(x_RF: np.ndarray | None) -> list[float]:
    assert x_RF is not None
    assert x_RF.shape[1] == len(NAMES)
    return x_RF[:, 0].tolist()


def test_its_rows_are_set_against_candidates_and_against_cold_items() -> None:
    group = EXAMPLE.group()
    assert group is not None
    assert (numbers(group.candidates_BF), group.candidates) == ([0, 1, 2, 3], 90)
    assert numbers(EXAMPLE.first_engagement()) == [0, 4, 5]


def test_there_is_no_group_without_a_place_or_without_others() -> None:
    assert made(rank=-1).group() is None
    assert not made(rank=-1).found
    assert made(features=rows(3)).group() is None, "only the true item is left"
    assert made(cold_negatives=0).first_engagement() is None
    assert made(features=b"").first_engagement() is None


def test_one_of_another_version_is_no_fault_and_has_no_rows() -> None:
    other = made(columns=len(NAMES) + 1)
    assert not other.fault()
    assert other.rows().shape == (0, len(NAMES))
    assert (other.group(), other.first_engagement()) == (None, None)


def test_it_survives_the_record_under_the_name_of_old_releases() -> None:
    value = msgspec.msgpack.encode(EXAMPLE)
    assert msgspec.msgpack.decode(value)["strangers"] == 2
    assert msgspec.msgpack.decode(value, type=Example) == EXAMPLE


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"occurred_at": float("nan")}, "a time"),
        ({"weight": float("inf")}, "a weight"),
        ({"value": float("-inf")}, "a weight"),
        ({"features": rows(6)[:-1]}, "features"),
        ({"features": np.full(len(NAMES), np.inf, "<f2").tobytes(), "cold_negatives": 0}, "features"),
        ({"cold_negatives": 6}, "fewer rows"),
        ({"cold_negatives": -1}, "fewer rows"),
        ({"candidates": 1 << 60}, "a count"),
    ],
)
def test_what_no_scorer_can_have_made_says_why(changes: dict[str, Any], fault: str) -> None:
    assert not EXAMPLE.fault()
    assert fault in made(**changes).fault()
