"""The face of a running worker against its own document: schemathesis asks every operation over HTTP.

What it asks is drawn anew for each commit, but alike on every machine: the seed is fixed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster
from tests.waiting import eventually

CONFIG = Path(__file__).with_name("schemathesis.toml")
OPERATIONS = 16
"""Of the document; the one that gives the document itself is not asked again."""


def settings_on(cluster: EmbeddedCluster) -> Settings:
    name = f"face-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": f"{name}.", "group": name, "partitions": 1}
    settings = settings_from({"kafka": kafka})
    create_topics(settings)
    return settings


@pytest.fixture(scope="module")
def worker(embedded_broker: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker with some items, whose ids are those that the document gives as examples, and a user."""
    settings = settings_on(embedded_broker)
    worker = WorkerProcess(settings, tmp_path_factory.mktemp("face"))
    worker.start()
    worker.await_ready()
    with Publisher(settings=settings) as publisher:
        for number in range(5):
            publisher.upload({"item_id": f"item-{number}", "uploaded_at": 1.7e9, "title": f"Bread, part {number}"})
        click = {"event_id": "e", "user_id": "user-1", "item_id": "item-1", "kind": "click", "occurred_at": 1.7e9}
        publisher.engagement(click)
    eventually(lambda: httpx.get(f"{worker.url}/v1/items/item-1").json().get("counters") == {"click": 1})
    eventually(lambda: httpx.get(f"{worker.url}/v1/items/item-4").status_code == 200)
    yield worker
    assert worker.stop() == 0


def ask_everything(worker: WorkerProcess, folder: Path, examples: int, phases: str) -> str:
    """What schemathesis says, when it has nothing to object to."""
    program = Path(sys.executable).with_name("schemathesis")
    document = f"{worker.url}/openapi.json"
    # One worker: two threads that parse source at once can fail in CPython 3.11 (gh-106905, "AST constructor").
    bounds = ("--max-examples", str(examples), "--seed", "1", "--workers", "1", "--phases", phases)
    done = subprocess.run(
        [program, "--config-file", CONFIG, "run", document, *bounds], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2000:] + worker.log.read_text()[-2000:]
    assert "failed" not in worker.log.read_text(), "no request is a fault of the server"
    return done.stdout


def test_every_operation_answers_as_the_document_says(worker: WorkerProcess, tmp_path: Path) -> None:
    said = ask_everything(worker, tmp_path, examples=8, phases="examples,fuzzing")
    assert f"Tested: {OPERATIONS - 1}\n" in said, said


@pytest.mark.long
def test_every_operation_answers_many_questions_as_the_document_says(worker: WorkerProcess, tmp_path: Path) -> None:
    ask_everything(worker, tmp_path, examples=500, phases="examples,coverage,fuzzing")


def test_the_document_counts_what_is_asked(worker: WorkerProcess) -> None:
    document = json.loads(httpx.get(f"{worker.url}/openapi.json").text)
    assert sum(len(methods) for methods in document["paths"].values()) == OPERATIONS
