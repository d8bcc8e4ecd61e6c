"""The live metric: windows by slice and checkpoint, and harm only beyond chance."""

from __future__ import annotations

import pytest

from stream.serving.live_metric import WINDOW, HitWindow, LiveMetric


def filled(hits: dict[str, tuple[int, int]]) -> LiveMetric:
    """A metric that saw (hits, misses) of each checkpoint."""
    metric = LiveMetric()
    for checkpoint, (hit, missed) in hits.items():
        for number in range(hit + missed):
            metric.add(checkpoint, ["all"], number < hit)
    return metric


def test_a_window_holds_the_newest() -> None:
    window = HitWindow(4)
    assert (len(window), window.ratio) == (0, 0.0)
    for hit in (True, True, True, False, False):
        window.add(hit)
    assert (len(window), window.ratio) == (4, 0.5)


def test_slices_and_checkpoints_are_kept_apart() -> None:
    metric = LiveMetric()
    metric.add("a", ["all", "fresh"], True)
    metric.add("b", ["all"], False)
    assert {name: window.ratio for name, window in metric.slices.items()} == {"all": 0.5, "fresh": 1.0}
    assert (metric.of("a").ratio, metric.of("b").ratio, len(metric.of("c"))) == (1.0, 0.0, 0)


def test_only_the_newest_checkpoints_are_kept() -> None:
    metric = filled({f"c{n}": (1, 0) for n in range(10)})
    assert [len(metric.of(f"c{n}")) for n in range(10)] == [0, 0] + [1] * 8


@pytest.mark.parametrize(
    ("before", "now", "bound", "harmed"),
    [
        ((100, 100), (20, 180), 0.7, True),
        ((100, 100), (80, 120), 0.7, False),  # within the bound
        ((100, 100), (69, 131), 0.7, True),
        ((25, 25), (17, 33), 0.7, False),  # chance explains it
        ((100, 100), (0, 49), 0.7, False),  # not yet known
        ((49, 0), (0, 200), 0.7, False),
        ((100, 100), (150, 50), 0.7, False),
        ((0, 100), (0, 100), 0.7, False),
    ],
)
def test_harm(before: tuple[int, int], now: tuple[int, int], bound: float, harmed: bool) -> None:
    said = filled({"old": before, "new": now}).harm("new", "old", bound)
    assert (said is not None) == harmed
    if said is not None:
        assert f"({min(sum(now), WINDOW)} samples)" in said
        assert "fell from 0.500" in said
