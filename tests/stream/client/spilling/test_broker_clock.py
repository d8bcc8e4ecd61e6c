"""The broker's clock as its acknowledgements tell it: a spilled event is dated as the broker would have dated it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.client.spilling.broker_clock import BrokerClock

PLACE, OTHER = ("engagements", 0), ("engagements", 1)


def test_until_something_was_acknowledged_this_machines_clock_is_believed() -> None:
    clock = BrokerClock(lambda: 1000.0)
    assert clock.came_at_ms(PLACE, clock.now_ms()) == 1_000_000


def test_a_clock_that_is_wrong_is_set_right() -> None:
    now = 1000.0
    clock = BrokerClock(lambda: now)
    clock.told(PLACE, 4_600_000)  # an hour ahead of ours
    now = 1010.0
    assert clock.came_at_ms(OTHER, clock.now_ms()) == 4_610_000


@settings(max_examples=20)
@given(stamps=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=1), sent_ms=st.integers(0, 3000))
def test_a_later_record_is_never_dated_before_an_earlier_one_was_taken(
    stamps: list[tuple[int, int]], sent_ms: int
) -> None:
    """Two edits of an item in quick succession, the second of which went to the spill: it must not count as older."""
    clock_s = iter(sorted(at_ms / 1000 for at_ms, _ in stamps))
    clock = BrokerClock(lambda: next(clock_s))
    for _, stamp in stamps:
        clock.told(PLACE, stamp)
    assert clock.came_at_ms(PLACE, sent_ms) >= max(stamp for _, stamp in stamps)
