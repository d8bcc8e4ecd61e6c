"""Metrics of tables: what they answered and what that saved are known from the start, and by task."""

from __future__ import annotations

from stream.metrics.metrics import Metrics
from tests.stream.metrics.exposition import scrape


def test_requests_by_what_tables_did_for_them(metrics: Metrics) -> None:
    metrics.tables.answered("similar", age_s=3.0, saved_s=0.02)
    metrics.tables.answered("similar", age_s=7.0, saved_s=0.01)
    metrics.tables.passed("home", "personal")
    metrics.tables.spent(0.5)
    metrics.tables.held(3, 4000)
    series = scrape(metrics)
    assert series['sidestream_table_requests_total{result="answered",task="similar"}'] == 2
    assert series['sidestream_table_requests_total{result="personal",task="home"}'] == 1
    assert series['sidestream_table_requests_total{result="explored",task="next"}'] == 0
    assert abs(series['sidestream_table_cpu_seconds_total{of="saved"}'] - 0.03) < 1e-9
    assert series['sidestream_table_cpu_seconds_total{of="spent"}'] == 0.5
    assert series['sidestream_table_age_seconds_bucket{le="5.0"}'] == 1
    assert (series["sidestream_table_lists{}"], series["sidestream_table_bytes{}"]) == (3, 4000)
