"""A worker whose disk is full under load: it ends, says why and what to do, as often as it is started; when there is
room it goes on, and nothing is lost or counted twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.chaos.load import await_exact, settings_on, under_load
from tests.chaos.workers import WorkerProcess
from tests.tiny_disk import tiny_disk
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


def assert_told(worker: WorkerProcess) -> None:
    """It has ended by itself, and its last words help."""
    assert worker.process is not None
    assert worker.process.wait(PATIENCE_S) == 1
    said = worker.log.read_text()
    worker.log.unlink()
    assert "No space left on device" in said
    assert "make room and start again" in said


@pytest.mark.long
def test_a_worker_on_a_full_disk_says_so_and_goes_on_when_there_is_room(cluster, tmp_path: Path) -> None:
    settings = settings_on(cluster)
    with tiny_disk(tmp_path / "disk", 64) as disk:
        worker = WorkerProcess(settings, tmp_path / "worker", data_dir=disk.folder / "data")
        with under_load(settings, [worker]) as load:
            worker.start()
            worker.await_ready()
            time.sleep(3)
            disk.fill()
            assert_told(worker)
            worker.start()  # too early
            assert_told(worker)
            disk.make_room()
            worker.start()
            assert await_exact(settings, load, [worker], learned=False) > 1000
