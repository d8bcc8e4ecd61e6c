from __future__ import annotations

import pytest

from stream.serving.time_share import TimeShare


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def worked(share: float, *, piece_s: float, idle_s: float, for_s: float) -> float:
    """The seconds that pieces of work take where one is tried after every `idle_s` of other work."""
    clock, total_s = Clock(), 0.0
    time_share = TimeShare(share, clock=clock)
    while clock.now_s < for_s:
        clock.now_s += idle_s
        if time_share.free():
            with time_share:
                clock.now_s += piece_s
                total_s += piece_s
    return total_s / clock.now_s


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("piece_s", [0.0005, 0.004, 0.1])
def test_a_busy_worker_gives_its_share_and_no_more(share: float, piece_s: float) -> None:
    assert worked(share, piece_s=piece_s, idle_s=0.0001, for_s=50.0) == pytest.approx(share, rel=0.05)


def test_a_quiet_worker_takes_every_chance() -> None:
    assert worked(0.2, piece_s=0.004, idle_s=0.1, for_s=10.0) == pytest.approx(0.004 / 0.104, rel=0.01)


def test_idle_time_is_not_saved_without_bound() -> None:
    clock = Clock()
    time_share = TimeShare(0.2, burst_s=0.05, clock=clock)
    clock.now_s += 3600.0
    pieces = 0
    while time_share.free():
        with time_share:
            clock.now_s += 0.01
        pieces += 1
    assert pieces <= 7


def test_no_share_is_no_work() -> None:
    assert worked(0.0, piece_s=0.001, idle_s=0.001, for_s=1.0) == 0.0
