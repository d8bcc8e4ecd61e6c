"""Swaps in a running system: a real trainer trains, judges and announces; a real worker exchanges, goes back, refuses
what is damaged, and answers all the while from one checkpoint at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import pytest

from store.checkpoints import CHECKPOINT_KEY, CheckpointRecord, RunRecord
from store.keys import RESERVED
from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.client.training_runs import follow, request_training
from stream.demo.acts import LATEST_ANSWER_S
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess, await_committed, read_topic
from tests.populated import publish_population
from tests.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.timeout(900)


def small_settings(bootstrap_servers: str, folder: Path) -> Settings:
    name = f"swap-{uuid.uuid4().hex[:8]}"
    return settings_from(
        {
            "checkpoint_dir": str(folder / "checkpoints"),
            "kafka": {
                "bootstrap_servers": bootstrap_servers,
                "topic_prefix": f"{name}.",
                "group": name,
                "partitions": 2,
                "session_timeout_s": 6.0,
                "heartbeat_s": 0.5,
            },
            "codebook": {"width": 32, "learn_after_items": 200},
            "model": {"layers": 1, "width": 32, "heads": 2, "text_vocabulary": 512, "history": 20},
            "training": {
                "max_seconds": 1.5,
                "first_engagements": 1_000_000_000,
                "min_engagements": 100,
                "gate_engagements": 200,
                "gate_least_events": 5,
                "gate_floor": 0.0,
                "gate_examples": 1_000_000,
                "gate_tolerance": 1.0,
                "metrics_port": -1,
            },
        }
    )


class Asker(threading.Thread):
    """Asks without pause, and keeps every answer and every failure."""

    def __init__(self, url: str, users: list[str]) -> None:
        super().__init__(daemon=True)
        self.pairs: list[tuple[str, str]] = []
        self.failures: list[str] = []
        self._url, self._users, self._ended = url, users, threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=LATEST_ANSWER_S) as client:
            number = 0
            while not self._ended.is_set():
                user = self._users[number % len(self._users)]
                number += 1
                try:
                    response = client.get(f"{self._url}/v1/recommend", params={"user_id": user})
                    answer = response.json()
                    if response.status_code != 200 or not answer["items"]:
                        self.failures.append(response.text)
                    self.pairs.append((answer["checkpoint"], answer["codebook"]))
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    self.failures.append(repr(error))
                time.sleep(0.05)  # the trainer works on the same cores

    def end(self) -> None:
        self._ended.set()
        self.join(20)


class System:
    """A worker and a trainer over one population."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        create_topics(settings)
        self.worker = WorkerProcess(settings, folder / "worker")
        self.worker.start()
        self.start_trainer()
        self.users: list[str] = []

    def start_trainer(self, **environment: str) -> None:
        command = [sys.executable, "-m", "stream.cli", "trainer", "--settings", str(self.worker.file)]
        with (self.folder / "trainer.log").open("ab") as log:
            self.trainer = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
            )

    def fill(self) -> None:
        self.worker.await_ready()
        self.users = publish_population(self.settings)
        await_committed(self.settings)

    def train(self, codebook: Literal["", "refresh"] = "") -> RunRecord:
        request, offset = request_training(self.settings, codebook)
        steps = list(follow(self.settings, request.run, offset, timeout_s=600))
        assert steps[-1].state == "published", steps
        return steps[-1]

    def serving(self) -> str | None:
        found: str | None = httpx.get(f"{self.worker.url}/v1/checkpoints", timeout=LATEST_ANSWER_S).json()["serving"]
        return found

    def say(self, record: CheckpointRecord) -> None:
        with Publisher(settings=self.settings, framing=None) as publisher:
            publisher.send("checkpoints", CHECKPOINT_KEY.decode(), msgspec.json.encode(record)).result()

    def record(self, checkpoint: str) -> CheckpointRecord:
        listed = httpx.get(f"{self.worker.url}/v1/checkpoints", timeout=LATEST_ANSWER_S).json()["checkpoints"]
        return msgspec.convert(next(one for one in listed if one["checkpoint"] == checkpoint), CheckpointRecord)

    def stop(self) -> None:
        self.trainer.terminate()
        self.trainer.wait(PATIENCE_S)
        self.worker.stop()


@pytest.fixture(scope="module")
def system(embedded_broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("swap")
    system = System(small_settings(embedded_broker.bootstrap_servers, folder), folder)
    try:
        system.fill()
        yield system
    finally:
        system.stop()


def test_trained_checkpoints_are_swapped_in_and_out_without_a_failed_request(system: System) -> None:
    asker = Asker(system.worker.url, system.users)
    asker.start()
    first = system.train().checkpoint
    eventually(lambda: system.serving() == first)
    second = system.train().checkpoint
    eventually(lambda: system.serving() == second)

    damaged = system.record(first)
    location = Path(damaged.location)
    broken = location.with_name(f"{location.name}-broken")
    subprocess.run(["cp", "-r", location, broken], check=True)
    weights = next(broken.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    system.say(msgspec.structs.replace(damaged, checkpoint="99991231T000000-0001", location=str(broken)))
    eventually(lambda: "not served" in httpx.get(f"{system.worker.url}/v1/checkpoints").json()["note"])
    assert system.serving() == second

    system.say(msgspec.structs.replace(system.record(first), action="rollback", published_at=time.time()))
    eventually(lambda: system.serving() == first)
    asker.end()
    assert asker.failures == []
    served = set(asker.pairs)
    assert {checkpoint for checkpoint, _ in served} >= {"none", first, second}
    assert len({codebook for checkpoint, codebook in served if checkpoint == first}) == 1
    text = httpx.get(f"{system.worker.url}/metrics").text
    assert 'sidestream_swaps_total{result="failed"} 1.0' in text
    assert 'sidestream_swaps_total{result="rolled_back"} 1.0' in text
    assert "sidestream_serving_model_data_age_seconds" in text


@pytest.mark.long
def test_a_codebook_is_refreshed_while_uploads_flow_and_requests_are_answered(system: System) -> None:
    asker = Asker(system.worker.url, system.users)
    asker.start()
    before = httpx.get(f"{system.worker.url}/v1/checkpoints").json()["codebook"]
    ended: list[RunRecord] = []
    run = threading.Thread(target=lambda: ended.append(system.train("refresh")))
    run.start()
    number = 0
    with Publisher(settings=system.settings, framing=None) as publisher:
        while run.is_alive():
            number += 1
            publisher.upload({"item_id": f"meanwhile-{number}", "uploaded_at": time.time(), "title": f"Story {number}"})
            time.sleep(0.05)
        publisher.flush(10)
    eventually(lambda: system.serving() == ended[0].checkpoint)
    asker.end()
    assert asker.failures == []
    after = httpx.get(f"{system.worker.url}/v1/checkpoints").json()["codebook"]
    assert after > before != "codebook-000000-zero"
    assert len(ended[0].churn) == system.settings.codebook.levels
    assert {book for _, book in asker.pairs} == {before, after}
    eventually(lambda: httpx.get(f"{system.worker.url}/v1/items/meanwhile-{number}").json().get("live"))
    published: dict[bytes | None, str | None] = {}

    def all_under_the_new_version() -> bool:
        for partition in range(system.settings.kafka.partitions):
            for key, value in read_topic(system.settings, "semantic-ids", partition):
                if not (key or b"").startswith(RESERVED.encode()):  # a canary is no item
                    published[key] = json.loads(value)["codebook"] if value else None
        return set(published.values()) == {after}

    eventually(all_under_the_new_version)


def test_a_worker_that_starts_again_serves_what_served(system: System) -> None:
    before = system.serving()
    system.worker.kill()
    system.worker.start()
    system.worker.await_ready()
    eventually(lambda: system.serving() == before)
