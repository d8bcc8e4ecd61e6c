"""Recent counts hold what is younger than the window, and nothing older."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream.metrics.recent_counts import RecentCounts

SLOTS, SLOT_S = 6, 5.0


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 2), st.integers(1, 9)), max_size=60))
def test_nothing_young_is_missed_and_nothing_old_is_held(steps: list[tuple[float, int, int]]) -> None:
    now = 1000.0
    counts = RecentCounts(3, slots=SLOTS, slot_s=SLOT_S, clock=lambda: now)
    added: list[tuple[float, int, int]] = []
    for pause_s, bucket, n in steps:
        now += pause_s
        counts.add(bucket, n)
        added.append((now, bucket, n))
        for each, total in enumerate(counts.total_W().tolist()):
            young = sum(n for at, b, n in added if b == each and now - at < (SLOTS - 1) * SLOT_S)
            held = sum(n for at, b, n in added if b == each and now - at <= SLOTS * SLOT_S)
            assert young <= total <= held


def test_a_rate_is_of_the_time_that_was_watched() -> None:
    now = 0.0
    counts = RecentCounts(1, slots=30, slot_s=1.0, clock=lambda: now)
    now = 4.0
    counts.add(0, 8)
    assert counts.window_s() == 4.0
    assert counts.rate_per_s() == 2.0
    now = 100.0
    assert counts.rate_per_s() == 0.0
