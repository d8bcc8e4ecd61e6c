"""Fixtures shared by all tests: the brokers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.clusters import EmbeddedCluster, KafkaCluster, why_no_kafka

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: idle threads cost most
# A traced run on a shared machine says nothing of speed.
settings.register_profile("sidestream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sidestream")


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """The embedded broker as a process; shared, so use topic and group names of your own."""
    cluster = EmbeddedCluster(tmp_path_factory.mktemp("embedded"))
    cluster.start()
    yield cluster
    assert cluster.stop() == 0, cluster.log


@pytest.fixture(scope="session")
def real_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One broker of real Kafka; shared, so use topic and group names of your own. Skips, with the reason."""
    reason = why_no_kafka()
    if reason:
        pytest.skip(reason)
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def cluster(request: pytest.FixtureRequest) -> EmbeddedCluster | KafkaCluster:
    """Each test that takes it runs on the embedded broker and on real Kafka: `.bootstrap_servers`."""
    name = "embedded_broker" if request.param == "embedded" else "real_kafka"
    found: EmbeddedCluster | KafkaCluster = request.getfixturevalue(name)
    return found
