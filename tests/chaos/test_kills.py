"""Kills: workers die by SIGKILL under load, at random and at every boundary of the protocol, and nothing is lost or
counted twice. The judge is an oracle that reads the log once."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.load import BOUNDARIES, await_exact, settings_on, under_load
from tests.chaos.workers import WorkerProcess
from tests.clusters import ON_KAFKA
from tests.lengths import LONG

KILLS = int(os.environ.get("SIDESTREAM_CHAOS_KILLS", "10"))
USUAL = "written"
"""The boundary that every run of the suite dies at."""
PASSED = (1, 4) if LONG else (3,)
"""Which time it dies there; it is started again after each."""
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.mark.long
@ON_KAFKA
def test_two_workers_killed_at_random_lose_and_double_nothing(cluster, tmp_path: Path) -> None:
    settings = settings_on(cluster)
    chance = random.Random(11)
    workers = [WorkerProcess(settings, tmp_path / f"worker-{n}") for n in range(2)]
    for worker in workers:
        worker.start()
    workers[0].await_ready()
    with under_load(settings, workers) as load:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 2.0))
            victim = chance.choice(workers)
            victim.kill()
            victim.start()
        assert await_exact(settings, load, workers) > 1000


@pytest.mark.parametrize(
    "boundary", [each if each == USUAL else pytest.param(each, marks=pytest.mark.long) for each in BOUNDARIES]
)
def test_a_worker_killed_at_each_boundary_is_exact(embedded_broker, tmp_path: Path, boundary: str) -> None:
    settings = settings_on(embedded_broker)
    worker = WorkerProcess(settings, tmp_path / "worker")
    with under_load(settings, [worker], rate_per_s=1500) as load:
        for count in PASSED:
            worker.start(SIDESTREAM_FAULT=f"{boundary}:{count}")
            assert worker.process is not None
            assert worker.process.wait(60) == -9
        load.end()
        worker.start()
        # Killed before it absorbs anything, it gets everything in one burst: vectors are then learned apart.
        assert await_exact(settings, load, [worker], learned=boundary != "restored") > 500


@pytest.mark.long
def test_an_empty_disk_comes_back_from_the_log(cluster, tmp_path: Path) -> None:
    settings = settings_on(cluster)
    first, second = (WorkerProcess(settings, tmp_path / name) for name in ("first", "second"))
    first.start()
    first.await_ready()
    with under_load(settings, [first, second], rate_per_s=2000) as load:
        time.sleep(3)
        first.kill()
        second.start()
        time.sleep(2)
        assert await_exact(settings, load, [second]) > 1000
