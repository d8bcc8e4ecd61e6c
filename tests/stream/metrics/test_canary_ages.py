"""Canaries' ages grow from one look to the next, and what is not known is counted as missing, not shown as young."""

from __future__ import annotations

from store.settings import Freshness
from stream.metrics.canary_ages import CanaryAges, overdue_after_s
from stream.metrics.metrics import Metrics
from tests.stream.metrics.exposition import FakeClock, scrape

STAGE = "upload_to_recommendable"


def age(series: dict[str, float], partition: int, stage: str = STAGE) -> float | None:
    return series.get(f'sidestream_canary_age_seconds{{partition="{partition}",stage="{stage}"}}')


def test_an_age_grows_until_the_next_canary_comes(metrics: Metrics, clock: FakeClock) -> None:
    metrics.canaries.watch(STAGE, range(2))
    metrics.canaries.came(STAGE, 0, 999_500)
    assert age(scrape(metrics), 0) == 0.5
    clock.now += 60
    assert age(scrape(metrics), 0) == 60.5
    metrics.canaries.came(STAGE, 0, 1_059_000)
    metrics.canaries.came(STAGE, 0, 1_030_000)  # a former owner says what is known
    assert age(scrape(metrics), 0) == 1


def test_what_has_not_come_yet_is_absent_and_missing(metrics: Metrics) -> None:
    metrics.canaries.watch(STAGE, range(3))
    metrics.canaries.came(STAGE, 1, -1)
    metrics.canaries.came(STAGE, 2, 1)
    series = scrape(metrics)
    assert (age(series, 0), age(series, 1), age(series, 2)) == (None, None, 999.999)
    assert series[f'sidestream_canaries_missing{{stage="{STAGE}"}}'] == 2


def test_a_partition_that_went_elsewhere_is_anothers_concern(metrics: Metrics, clock: FakeClock) -> None:
    metrics.canaries.watch("engagement_to_history", {0, 1})
    metrics.canaries.came("engagement_to_history", 0, 1000)
    metrics.canaries.watch("engagement_to_history", {1})
    assert age(scrape(metrics), 0, "engagement_to_history") is None
    metrics.canaries.watch("engagement_to_history", {0})
    assert metrics.canaries.missing() == {"engagement_to_history": 1}  # what it once knew may be of another time


def test_a_clock_that_is_ahead_makes_none_younger_than_its_arrival(metrics: Metrics, clock: FakeClock) -> None:
    metrics.canaries.watch(STAGE, {0})
    metrics.canaries.came(STAGE, 0, 9_000_000)
    clock.now += 30
    assert age(scrape(metrics), 0) == 30


def test_what_a_restart_reads_again_is_old_but_not_late(metrics: Metrics, clock: FakeClock) -> None:
    metrics.canaries.watch(STAGE, {0})
    metrics.canaries.came(STAGE, 0, 400_000)
    assert metrics.canaries.snapshot()[STAGE]["count"] == 0
    assert metrics.canaries.snapshot()[STAGE]["age_s"] == 600
    clock.now += 5
    metrics.canaries.came(STAGE, 0, 1_004_800)
    assert metrics.canaries.snapshot()[STAGE]["count"] == 1


def test_without_canaries_there_is_nothing_to_see() -> None:
    ages = CanaryAges(Freshness(canary_s=0.0))
    ages.came(STAGE, 0, 1)  # another worker's
    assert (ages.snapshot(), [family.samples for family in ages.collect()]) == ({}, [[], [], []])


def test_two_canaries_in_a_row_may_be_late_by_their_objective() -> None:
    freshness = Freshness(canary_s=3.0, upload_to_recommendable_s=2.0)
    assert overdue_after_s(STAGE, freshness) == 8.0
    ages = Metrics(freshness=freshness)
    assert scrape(ages)[f'sidestream_canary_overdue_after_seconds{{stage="{STAGE}"}}'] == 8.0
