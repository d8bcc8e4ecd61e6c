"""Bounces of brokers: what `bench.bounces` injects, so that what its first runs found stays found."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.bounces_judge import judge
from bench.bounces_system import Bounced, Fault, Sending
from tests.clusters import KafkaCluster, why_no_kafka

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(600)]


@pytest.mark.long
def test_a_broker_that_stood_still_leaves_no_partition_unread(tmp_path: Path) -> None:
    """The group's coordinator is paused before much is committed. So the group begins anew, while partitions that it
    led have other leaders; who owns them looks for their first offsets."""
    reason = why_no_kafka()
    if reason:
        pytest.skip(reason)
    cluster = KafkaCluster(tmp_path / "kafka", brokers=3)
    cluster.start()
    try:
        system = Bounced(cluster, tmp_path / "row", workers=2)
        try:
            sending = Sending(system.settings, 12_000, 600)
            sending.start()
            sending.join(1.0)
            recovery_s = system.bounce(Fault("broker", "pause", 8.0), system.coordinator() - 1)
            sending.join()
            sending.check()
            system.await_end()
            assert judge(sending.sent, system.settings).is_exact
        finally:
            system.close()
    finally:
        cluster.stop()
    assert recovery_s < 100, "by itself the client asks who leads after five minutes"
