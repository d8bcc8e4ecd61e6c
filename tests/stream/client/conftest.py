"""What tests of outages share: a broker of their own, which is well again after each."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.clusters import EmbeddedCluster, KafkaCluster


@pytest.fixture
def own_cluster(these_tests_cluster: EmbeddedCluster | KafkaCluster) -> Iterator[EmbeddedCluster | KafkaCluster]:
    """The module's broker, to be ill-treated: paused or killed. It is well again afterwards."""
    yield these_tests_cluster
    these_tests_cluster.resume()
    if not these_tests_cluster.runs:
        these_tests_cluster.restart()
    gc.collect()  # here, where those modules allow for what kafka-python leaves
