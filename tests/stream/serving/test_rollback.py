"""Rollback in a running system: checkpoints that were spoiled after their gate are caught by what they themselves
bring, and the one before serves again within a second of the verdict. Real broker, trainer and worker."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from store.checkpoints import CheckpointRecord
from stream.client.publisher import Publisher
from stream.demo.acts import LATEST_ANSWER_S
from tests.bad_checkpoints import failing, shuffled, slowed
from tests.chaos.workers import await_committed
from tests.populated import rest_of_population
from tests.stream.serving.test_swap import Asker, System, small_settings
from tests.waiting import eventually

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]
PER_S = 15.0
BACK_S = 1.0


class Engagements(threading.Thread):
    """The population goes on, a little at a time."""

    def __init__(self, system: System) -> None:
        super().__init__(daemon=True)
        self._system, self._ended = system, threading.Event()

    def run(self) -> None:
        with Publisher(settings=self._system.settings) as publisher:
            for event in rest_of_population():
                if self._ended.is_set():
                    return
                publisher.engagement(event)
                time.sleep(1.0 / PER_S)

    def end(self) -> None:
        self._ended.set()
        self.join(30)


@pytest.fixture(scope="module")
def system(embedded_broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("rollback")
    settings = small_settings(embedded_broker.bootstrap_servers, folder)
    training = msgspec.structs.replace(settings.training, max_seconds=12.0, keep_checkpoints=100)
    codebook = msgspec.structs.replace(
        settings.codebook, learn_after_items=1_000_000
    )  # the models are what this is about
    system = System(msgspec.structs.replace(settings, training=training, codebook=codebook), folder)
    try:
        system.fill()
        yield system
    finally:
        system.stop()


@pytest.fixture(scope="module")
def good(system: System) -> CheckpointRecord:
    """A checkpoint that serves, and has passed its gate."""
    made = system.train().checkpoint
    eventually(lambda: system.serving() == made)
    await_committed(system.settings)
    return system.record(made)


def count(system: System, cause: str) -> float:
    text = httpx.get(f"{system.worker.url}/metrics", timeout=LATEST_ANSWER_S).text
    found = re.search(rf'sidestream_watch_rollbacks_total{{cause="{cause}"}} (\S+)', text)
    assert found is not None
    return float(found[1])


def seconds_between(log: str, first: str, second: str) -> float:
    """Between the last lines of a worker's log with these words."""
    at = [max(datetime.fromisoformat(line[:23].replace(",", ".")) for line in log.splitlines() if words in line)
          for words in (first, second)]  # fmt: skip
    return (at[1] - at[0]).total_seconds()


@pytest.mark.parametrize(
    ("spoiled", "causes"),
    [
        (shuffled, {"hits", "writing", "calibration"}),
        (failing, {"failures"}),
        (slowed, {"cost"}),
    ],
    ids=["shuffled", "failing", "slowed"],
)
def test_a_checkpoint_that_was_spoiled_after_its_gate_goes_by_itself(
    system: System, good: CheckpointRecord, spoiled: Callable[[Path], Path], causes: set[str]
) -> None:
    asker, engagements = Asker(system.worker.url, system.users), Engagements(system)
    before = {cause: count(system, cause) for cause in causes}
    asker.start()
    engagements.start()
    bad = spoiled(Path(good.location))
    offered = msgspec.structs.replace(
        good, checkpoint=bad.name, parent=good.checkpoint, location=str(bad), published_at=time.time()
    )
    system.say(offered)
    eventually(lambda: system.serving() == bad.name)
    eventually(lambda: system.serving() == good.checkpoint, timeout_s=600)
    engagements.end()
    asker.end()
    told = httpx.get(f"{system.worker.url}/v1/checkpoints", timeout=LATEST_ANSWER_S).json()["note"]
    assert sum(count(system, cause) - before[cause] for cause in causes) == 1.0, told
    assert asker.failures == []
    assert {bad.name, good.checkpoint} <= {checkpoint for checkpoint, _ in asker.pairs}
    log = system.worker.log.read_text()
    assert 0 <= seconds_between(log, f"rolling back {bad.name}", f"{bad.name} → {good.checkpoint}") <= BACK_S
    print(*islice(reversed([line for line in log.splitlines() if bad.name in line]), 4), sep="\n")
