"""What was announced: bounded, the newest, and never without what serves or what shall."""

from __future__ import annotations

from typing import Any

import pytest

from store.checkpoints import CheckpointRecord, RankerRecord
from stream.serving.preparing.announced import FORMER, MOST, Announced


def record(number: int, **changes: Any) -> CheckpointRecord:
    given = {"checkpoint": f"c{number}", "parent": None, "location": f"/c{number}", "verdict": "passed", **changes}
    return CheckpointRecord(**{"published_at": float(number), **given})


@pytest.mark.parametrize("verdict", ["passed", "refused"])
def test_memory_is_bounded_whatever_is_announced(verdict: str) -> None:
    """A system that trains every ten minutes announces 50,000 in a year."""
    announced = Announced(lambda: ["c3", "c5"])
    for number in range(3000):
        announced.checkpoint(record(number, verdict=verdict))
        announced.ranker(RankerRecord(ranker=str(number), location="/r", published_at=1.0))
    assert len(announced.records) == MOST
    assert len(announced._first_at) == MOST
    assert {"c3", "c5", "c2999"} < set(announced.records)
    assert "c2000" not in announced.records
    assert len(announced.targets) == (FORMER if verdict == "passed" else 0)
    assert [one.ranker for one in announced.take_rankers()] == [
        str(number) for number in range(2999, 2999 - FORMER, -1)
    ]
    assert announced.take_rankers() == []


def test_what_was_asked_for_is_remembered_behind_any_number_of_refused_ones() -> None:
    announced = Announced()
    assert announced.checkpoint(record(0))
    for number in range(1, 1000):
        assert not announced.checkpoint(record(number, verdict="refused"))
    assert announced.records["c0"].location == "/c0"
    assert announced.last_target("c0") == record(0)
    assert announced.last_target("c999") is None


def test_a_checkpoint_is_as_old_as_its_first_announcement() -> None:
    announced = Announced()
    announced.checkpoint(record(1))
    again = record(1, action="rollback", published_at=500.0)
    assert announced.checkpoint(again)
    assert announced.first_at(again) == 1.0
    assert announced.first_at(record(7)) == 7.0
    assert announced.last_target("c1") is again


def test_a_refused_one_serves_where_a_person_promotes_it() -> None:
    announced = Announced()
    assert not announced.checkpoint(record(1, verdict="refused"))
    assert announced.checkpoint(record(1, verdict="refused", action="promote"))
