"""Outages of the lengths at which publishers were seen to fail: every event ends in its time, memory stays flat."""

from __future__ import annotations

import pytest

from bench.outage import measure

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TIMEOUT_S = 30.0


@pytest.mark.parametrize(
    ("seconds", "spill", "fault"),
    [
        *((55.0, spill, fault) for spill in (False, True) for fault in ("pause", "kill")),
        (600.0, True, "pause"),
    ],
)
def test_every_event_of_a_long_outage_ends_in_its_time_and_nothing_gathers(
    seconds: float, spill: bool, fault: str
) -> None:
    seen = measure(seconds, fault=fault, spill=spill)
    assert seen.acknowledged + seen.failed + seen.spilled == seen.published
    assert seen.slowest_s < TIMEOUT_S + 3.0
    assert (seen.lost, seen.out_of_order) == (0, 0)
    assert (seen.failed == 0) if spill else (seen.spilled == 0)
    assert seen.held_mib < 20.0
