"""Trainer and worker die between a verdict and what follows of it: the run comes to its end, every checkpoint that
has a name is whole, every worker serves the last one that was offered, and every card has its codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from store.checkpoints import CheckpointFolder, verify
from store.keys import RESERVED
from stream.client.training_runs import follow, request_training
from tests.chaos.workers import read_topic
from tests.stream.serving.test_swap import System, small_settings
from tests.waiting import PATIENCE_S, eventually
from trainer.model_bundle import NO_CHECKPOINT

TRAINER_POINTS = ["checkpoint_named", "run_judged", "run_gated", "run_announced"]
WORKER_POINTS = ["swap_loaded", "swapped"]
POINTS = [*TRAINER_POINTS, *WORKER_POINTS, "cards_reassigned"]
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600), pytest.mark.long]


@pytest.fixture(scope="module")
def system(embedded_broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("killed")
    settings = small_settings(embedded_broker.bootstrap_servers, folder)
    kept = msgspec.structs.replace(settings.training, keep_checkpoints=100)  # nothing goes while a test looks
    system = System(msgspec.structs.replace(settings, training=kept), folder)
    try:
        system.fill()
        yield system
    finally:
        system.stop()


def codebooks_of_cards(system: System) -> set[str | None]:
    published: dict[bytes | None, str | None] = {}
    for partition in range(system.settings.kafka.partitions):
        for key, value in read_topic(system.settings, "semantic-ids", partition):
            if not (key or b"").startswith(RESERVED.encode()):  # a canary is no item
                published[key] = json.loads(value)["codebook"] if value else None
    return set(published.values())


def restart_worker_killed_at(system: System, point: str) -> None:
    system.worker.kill()
    system.worker.start(SIDESTREAM_FAULT=point)


def test_cards_that_were_being_assigned_anew_all_get_the_new_codes(system: System) -> None:
    """Of two partitions one is done."""
    restart_worker_killed_at(system, "cards_reassigned")
    system.worker.await_ready()
    made = system.train().checkpoint
    assert system.worker.process is not None
    assert system.worker.process.wait(PATIENCE_S) == -9
    assert len(codebooks_of_cards(system)) == 2
    system.worker.start()
    system.worker.await_ready()
    eventually(lambda: system.serving() == made)
    after = httpx.get(f"{system.worker.url}/v1/checkpoints", timeout=10).json()["codebook"]
    eventually(lambda: codebooks_of_cards(system) == {after})


@pytest.mark.parametrize("point", TRAINER_POINTS)
def test_a_run_whose_trainer_was_killed_comes_to_its_end(system: System, point: str) -> None:
    system.trainer.terminate()
    system.trainer.wait(PATIENCE_S)
    system.start_trainer(SIDESTREAM_FAULT=point)
    request, offset = request_training(system.settings)
    assert system.trainer.wait(PATIENCE_S) == -9
    system.start_trainer()
    steps = list(follow(system.settings, request.run, offset, timeout_s=PATIENCE_S))
    assert steps[-1].state == "published", steps
    folder = CheckpointFolder(Path(system.settings.checkpoint_dir))
    assert all(verify(folder.path(checkpoint)).checkpoint == checkpoint for checkpoint in folder.ids())
    assert not list(folder.root.glob(".*"))
    eventually(lambda: system.serving() == steps[-1].checkpoint)


@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_worker_that_was_killed_in_a_swap_serves_what_was_offered(system: System, point: str) -> None:
    if system.serving() in (None, NO_CHECKPOINT):
        made = system.train().checkpoint
        eventually(lambda: system.serving() == made)
    before = system.serving()
    restart_worker_killed_at(system, point)
    assert system.worker.process is not None
    assert system.worker.process.wait(PATIENCE_S) == -9
    system.worker.start()
    system.worker.await_ready()
    eventually(lambda: system.serving() == before)
