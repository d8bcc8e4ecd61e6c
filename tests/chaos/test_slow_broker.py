"""A slow broker: every answer takes a second or so, now and then as long as a session, and nothing is lost or counted
twice. It gets a sixth of the time, in slices: it is stopped (SIGSTOP) and let go on (SIGCONT) again and again."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.chaos.load import SESSION_S, await_exact, settings_on, under_load
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(600)]
SLOW_S = 60.0


def slow(cluster: EmbeddedCluster | KafkaCluster, seconds: float) -> None:
    """It works for a tenth of a second between stretches of half a second; three of these outlast a session."""
    chance = random.Random(2)
    for stretch in (SESSION_S, 1.2 * SESSION_S, 1.5 * SESSION_S):
        end = time.monotonic() + seconds / 3
        while time.monotonic() < end:
            _stand_still(cluster, chance.uniform(0.3, 0.7))
            time.sleep(0.1)
        _stand_still(cluster, stretch)


def _stand_still(cluster: EmbeddedCluster | KafkaCluster, seconds: float) -> None:
    cluster.pause()
    try:
        time.sleep(seconds)
    finally:
        cluster.resume()


def test_two_workers_on_a_slow_broker_lose_and_double_nothing(cluster, tmp_path: Path) -> None:
    """A worker may give a send up and end; then whoever supervises it starts it again, as this test does."""
    settings = settings_on(cluster)
    workers = [WorkerProcess(settings, tmp_path / f"worker-{n}") for n in range(2)]
    for worker in workers:
        worker.start()
    workers[0].await_ready()
    with under_load(settings, workers, rate_per_s=100, delivery_timeout_s=PATIENCE_S) as load:
        slow(cluster, SLOW_S)
        for worker in workers:
            worker.start_if_ended()
        assert await_exact(settings, load, workers, learned=False) > 1000
