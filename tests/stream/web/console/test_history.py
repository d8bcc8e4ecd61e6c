"""The last hour in memory: bounded, in columns, with gaps where nothing was known."""

from __future__ import annotations

from store.settings import Freshness
from stream.metrics.metrics import Metrics
from stream.metrics.status import report
from stream.web.console.history import MOST_SERIES, SAMPLES, History


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def history_of(metrics: Metrics, clock: Clock) -> History:
    return History(lambda: report(metrics.snapshot(), Freshness()), metrics, clock=clock)


def test_what_is_not_known_is_null_and_never_zero() -> None:
    metrics, clock = Metrics(), Clock()
    history = history_of(metrics, clock)
    history.take()
    metrics.became_recommendable(0.08, 50)
    metrics.lag({("engagements", 0): 12})
    metrics.live_hits(10, "overall", 0.25)
    clock.now += 5.0
    history.take()
    metrics.lag({})  # no broker answers
    clock.now += 5.0
    history.take()
    said = history.since()
    assert said["at"] == [1000.0, 1005.0, 1010.0]
    assert said["series"]["stage/upload_to_recommendable"] == [None, 0.08, 0.08]
    assert said["series"]["lag/engagements"] == [None, 12.0, None]
    assert said["series"]["hits/overall@10"] == [None, 0.25, 0.25]
    assert "answers/p99_s" not in said["series"], "nobody asked"
    assert said["series"]["answers/requests_per_s"] == [0.0] * 3
    assert said["objectives"]["stage/upload_to_recommendable"] == Freshness().upload_to_recommendable_s


def test_only_what_a_reader_lacks_is_told() -> None:
    metrics, clock = Metrics(), Clock()
    history = history_of(metrics, clock)
    for _ in range(3):
        clock.now += 5.0
        history.take()
    said = history.since(history.process, 2)
    assert (said["at"], said["next"]) == ([1015.0], 3)
    assert history.since(history.process, 3)["at"] == []
    assert len(history.since("another process", 3)["at"]) == 3
    assert len(history.since(history.process, 10**9)["at"]) == 0


def test_it_is_bounded_in_samples_and_in_series() -> None:
    metrics, clock = Metrics(), Clock()
    many = {f"slice{number}@10": 0.5 for number in range(10 * MOST_SERIES)}
    history = History(lambda: {**report(metrics.snapshot(), Freshness()), "live_hit_ratio": many}, metrics, clock=clock)
    for _ in range(SAMPLES + 10):
        clock.now += 5.0
        history.take()
    said = history.since()
    assert len(said["at"]) == SAMPLES
    assert len(said["series"]) <= MOST_SERIES
    assert said["at"][0] == 1000.0 + 11 * 5.0


def test_a_clock_that_goes_back_is_survived() -> None:
    metrics, clock = Metrics(), Clock()
    history = history_of(metrics, clock)
    clock.now -= 3600.0
    metrics.recommended("home", "ok", 0.01)
    history.take()
    assert history.since()["series"]["answers/requests_per_s"] == [10.0], "at most one in a tenth of a second"
