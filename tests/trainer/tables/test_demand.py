"""Demand: what is asked most is known, within bounds, whatever is asked."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.tables.demand import Demand
from trainer.tables.questions import Question


def similar(number: int) -> Question:
    return Question("similar", f"i{number}")


@settings(max_examples=30)
@given(room=st.integers(1, 20), asked=st.lists(st.integers(0, 50), max_size=300))
def test_memory_is_bounded(room: int, asked: list[int]) -> None:
    demand = Demand(room)
    for number in asked:
        demand.ask(similar(number))
        assert len(demand) <= room


def test_what_is_asked_most_comes_first_and_a_flood_of_others_does_not_drive_it_out() -> None:
    demand = Demand(100)
    for number in range(2000):
        demand.ask(similar(number % 3))
        demand.ask(similar(10 + number))
    assert set(demand.most(3, 2.0)) == {similar(0), similar(1), similar(2)}
    assert len(list(demand.most(50, 2.0))) == 3


def test_what_nobody_asks_any_more_is_forgotten() -> None:
    demand = Demand(100)
    for _ in range(10):
        demand.ask(similar(1))
    demand.ask(similar(2))
    demand.fade()
    assert [*demand.most(9, 0.0)] == [similar(1)]
    for _ in range(3):
        demand.fade()
    assert len(demand) == 0


def test_what_was_made_for_it_is_paid_for_once() -> None:
    demand = Demand(100)
    for _ in range(5):
        demand.ask(similar(1))
    demand.spend(similar(1), 3.0)
    demand.spend(similar(2), 3.0)
    assert ([*demand.most(9, 2.0)], [*demand.most(9, 3.0)], len(demand)) == ([similar(1)], [], 1)
    demand.spend(similar(1), 3.0)
    demand.ask(similar(1))
    assert [*demand.most(9, 1.0)] == [similar(1)], "nobody pays for what was"
