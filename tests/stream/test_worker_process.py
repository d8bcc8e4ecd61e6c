"""The worker's process: it ends at last, whatever still runs (how it starts and stops otherwise: test_worker)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from store.settings import settings_from
from stream.client.publisher import Publisher
from stream.kafka.emitter import EXPIRES_S
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
SCRIPT = """
import time
from stream.worker_process import end_at_last
end_at_last(3, 0.5)
print("waiting", flush=True)
time.sleep({sleep_s})
"""


def run(sleep_s: float) -> tuple[int, float]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(sleep_s=sleep_s)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    began = time.monotonic()
    status = process.wait(30)
    process.stdout.close()
    return status, time.monotonic() - began


def test_a_worker_that_does_not_stop_is_ended_with_its_status() -> None:
    status, took_s = run(60.0)
    assert status == 3
    assert took_s < 20


def test_one_that_stops_by_itself_is_left_alone() -> None:
    assert run(0.0)[0] == 0


def test_a_worker_that_is_to_stop_says_so_and_answers_until_the_balancer_has_noticed(
    embedded_broker: EmbeddedCluster, tmp_path: Path
) -> None:
    kafka = {"bootstrap_servers": embedded_broker.bootstrap_servers, "topic_prefix": "drain.", "group": "drain"}
    settings = settings_from({"kafka": {**kafka, "partitions": 1}})
    create_topics(settings)
    worker = WorkerProcess(settings, tmp_path, drain_s=3.0)
    worker.start()
    worker.await_ready()
    with httpx.Client(base_url=worker.url, timeout=10) as client:
        assert client.get("/readyz").status_code == 200
        assert worker.process is not None
        worker.process.terminate()
        time.sleep(1.0)
        told, answered = client.get("/readyz"), client.get("/v1/recommend", params={"user_id": "u"})
    assert (told.status_code, told.json()["reason"].partition(":")[0]) == (503, "stopping")
    assert (answered.status_code, answered.headers["Connection"]) == (200, "close")
    worker.process.terminate()  # a second signal: no more waiting
    assert worker.process.wait(30) == 0


def test_a_worker_that_was_at_work_waits_for_a_broker_that_is_away(tmp_path: Path) -> None:
    broker = EmbeddedCluster(tmp_path / "broker")
    kafka = {"bootstrap_servers": broker.bootstrap_servers, "partitions": 1}
    settings = settings_from({"kafka": kafka, "logging": {"format": "json"}})
    broker.start()
    create_topics(settings)
    assert broker.stop() == 0
    worker = WorkerProcess(settings, tmp_path / "worker")
    (worker.folder / "data" / "rows").mkdir(parents=True)
    worker.start()
    eventually(lambda: worker.log.read_text().endswith("\n"))
    broker.start()
    worker.await_ready()
    assert worker.stop() == 0
    assert broker.stop() == 0
    begins, ends, *_ = [json.loads(line) for line in worker.log.read_text().splitlines()]
    assert begins["message"].startswith("the worker cannot start without a broker (no Kafka broker answers")
    assert ends["message"].startswith("over after ")


@pytest.mark.long
def test_while_no_broker_answers_requests_are_and_it_starts_anew_when_one_does(tmp_path: Path) -> None:
    """What it had to send is given up after 30 s; a worker that ended then could not start, and nobody would answer."""
    broker = EmbeddedCluster(tmp_path / "broker")
    broker.start()
    settings = settings_from({"kafka": {"bootstrap_servers": broker.bootstrap_servers, "partitions": 1}})
    create_topics(settings)
    worker = WorkerProcess(settings, tmp_path / "worker")
    worker.start()
    try:
        worker.await_ready()
        with httpx.Client(base_url=worker.url, timeout=10) as client:

            def answers() -> bool:
                answer = client.get("/v1/recommend", params={"user_id": "u"})
                return answer.status_code == 200 and answer.json()["items"][0]["item_id"] == "i"

            with Publisher(settings=settings) as publisher:
                publisher.upload({"item_id": "i", "uploaded_at": time.time(), "title": "Garden roses"})
                publisher.flush()
                eventually(lambda: client.get("/v1/items/i").status_code == 200)
                act = {"event_id": "e", "user_id": "v", "item_id": "i", "kind": "click", "occurred_at": time.time()}
                publisher.engagement(act)
                publisher.flush()
            broker.kill()
            end = time.monotonic() + EXPIRES_S + 20
            while time.monotonic() < end:
                assert answers()
                time.sleep(0.2)
            assert "the worker failed" in worker.log.read_text(), "it had nothing to send"
            broker.restart()
            assert worker.process is not None
            assert worker.process.wait(30) == 1
        worker.start()
        worker.await_ready()
        eventually(lambda: httpx.get(f"{worker.url}/v1/items/i").json()["counters"] == {"click": 1})
    finally:
        worker.stop()
        broker.stop()
