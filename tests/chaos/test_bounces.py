"""Bounces of brokers: a small row of `bench.bounces`, so that what its first runs found stays found."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from bench.bounces import run_row
from bench.bounces_system import Fault
from tests.clusters import KafkaCluster, why_no_kafka

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(600)]


def test_a_broker_that_stood_still_leaves_no_partition_unread(tmp_path: Path) -> None:
    """Three brokers, one of them paused before much is committed: its partitions have other leaders when their owners
    look for their first offsets."""
    reason = why_no_kafka()
    if reason:
        pytest.skip(reason)
    cluster = KafkaCluster(tmp_path / "kafka", brokers=3)
    cluster.start()
    try:
        options = Namespace(engagements=12_000, rate=600, workers=2)
        row = run_row(cluster, tmp_path / "row", "broker SIGSTOP", Fault("broker", "pause", 8.0), options)
    finally:
        cluster.stop()
    assert row.absorbed.is_exact
    assert max(row.recoveries_s) < 100, "by itself the client asks who leads after five minutes"
