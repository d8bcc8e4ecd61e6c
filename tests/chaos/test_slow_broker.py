"""A slow broker: it stands still most of the time, everything takes seconds, and nothing is lost or counted twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.chaos.load import SESSION_S, await_exact, settings_on, under_load
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster, KafkaCluster, why_no_kafka

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(600)]
SLOW_S = 60.0


def slow(cluster: EmbeddedCluster | KafkaCluster, seconds: float) -> None:
    """Moments at work between stretches without an answer; some of these are as long as a session."""
    chance = random.Random(2)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        cluster.pause()
        time.sleep(1.2 * SESSION_S if chance.random() < 0.1 else chance.uniform(0.2, 1.0))
        cluster.resume()
        time.sleep(chance.uniform(0.05, 0.3))


@pytest.mark.parametrize("kind", [EmbeddedCluster, pytest.param(KafkaCluster, marks=pytest.mark.kafka)])
def test_two_workers_on_a_broker_that_stands_still_again_and_again_are_exact(
    kind: type[EmbeddedCluster] | type[KafkaCluster], tmp_path: Path
) -> None:
    if kind is KafkaCluster and (reason := why_no_kafka()):
        pytest.skip(reason)
    cluster = kind(tmp_path / "broker")
    cluster.start()
    try:
        settings = settings_on(cluster)
        workers = [WorkerProcess(settings, tmp_path / f"worker-{n}") for n in range(2)]
        for worker in workers:
            worker.start()
        workers[0].await_ready()
        with under_load(settings, workers) as load:
            slow(cluster, SLOW_S)
            for worker in workers:
                assert worker.process is not None
                if worker.process.poll() is not None:  # a send was given up: its supervisor would start it again
                    worker.start()
            assert await_exact(settings, load, workers) > 1000
    finally:
        cluster.resume()
        cluster.stop()
