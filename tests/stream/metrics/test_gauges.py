"""Gauges are absent until they are set, and ages grow while nobody looks."""

from __future__ import annotations

from stream.metrics.gauges import Gauges
from tests.stream.metrics.exposition import FakeClock


def test_series_come_with_their_values_and_go_when_they_are_no_longer_named() -> None:
    clock = FakeClock()
    gauges = Gauges(clock)
    assert not any(family.samples for family in gauges.collect())
    gauges.put("live_items", 3)
    gauges.replace("codebook_perplexity", {("0",): 5.0, ("1",): 6.0})
    gauges.replace("codebook_perplexity", {("1",): 7.0})
    gauges.since("codebook_age", 400.0)
    clock.now += 1
    found = {sample.name: sample.value for family in gauges.collect() for sample in family.samples}
    assert found == {
        "sidestream_live_items": 3,
        "sidestream_codebook_perplexity": 7,
        "sidestream_codebook_age_seconds": 601,
    }
