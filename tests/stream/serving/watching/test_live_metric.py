"""The live metric: windows by slice."""

from __future__ import annotations

from stream.serving.watching.live_metric import HitWindow, LiveMetric


def test_a_window_holds_the_newest() -> None:
    window = HitWindow(4)
    assert (len(window), window.ratio) == (0, 0.0)
    for hit in (True, True, True, False, False):
        window.add(hit)
    assert (len(window), window.ratio) == (4, 0.5)


def test_slices_are_kept_apart() -> None:
    metric = LiveMetric()
    metric.add(["all", "fresh"], True)
    metric.add(["all"], False)
    assert {name: window.ratio for name, window in metric.slices.items()} == {"all": 0.5, "fresh": 1.0}
