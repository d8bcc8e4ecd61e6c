"""The trainer's face says that it lives, and is ready only while it hears of the others and of the log."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from store.settings import Kafka, Settings, Training
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.waiting import PATIENCE_S, eventually
from trainer.runs.face.server import readiness, serve_face
from trainer.runs.metrics import TrainerMetrics
from trainer.runs.service import TrainerService


def test_it_is_ready_when_the_group_has_decided_and_the_log_answers() -> None:
    assert readiness("leading", away=False) == (True, "leading")
    assert readiness("standing by", away=False) == (True, "standing by")
    for standing, away in (("undecided", False), ("undecided", True), ("leading", True), ("standing by", True)):
        ready, reason = readiness(standing, away=away)
        assert not ready
        assert "does a broker answer?" in reason


def test_probes_stand_beside_the_metrics() -> None:
    state = (False, "not yet")
    port = serve_face(Training(metrics_port=0), TrainerMetrics().registry, lambda: state)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as face:
        assert face.get("/healthz").json() == {"alive": True}
        answer = face.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"ready": False, "reason": "not yet"})
        state = (True, "leading")
        answer = face.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "reason": "leading"})
        assert "sidestream_training_runs_total" in face.get("/metrics").text


def test_a_port_that_is_taken_is_told_and_no_face_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        training = Training(metrics_port=taken.getsockname()[1])
        assert serve_face(training, TrainerMetrics().registry, lambda: (True, "")) == -1
    assert "set training.metrics_port" in caplog.text
    assert serve_face(Training(metrics_port=-1), TrainerMetrics().registry, lambda: (True, "")) == -1


@contextmanager
def serving(settings: Settings, folder: Path) -> Iterator[TrainerService]:
    service = TrainerService(msgspec.structs.replace(settings, data_dir=str(folder)))
    thread = threading.Thread(target=service.serve)
    thread.start()
    yield service
    service.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.long
def test_without_a_broker_neither_the_one_at_work_nor_the_one_that_stands_by_is_ready(tmp_path: Path) -> None:
    broker = EmbeddedCluster(tmp_path / "broker")
    broker.start()
    kafka = Kafka(bootstrap_servers=broker.bootstrap_servers, partitions=1, session_timeout_s=2.0, heartbeat_s=0.5)
    training = Training(metrics_port=-1, niceness=0)
    settings = Settings(checkpoint_dir=str(tmp_path / "checkpoints"), kafka=kafka, training=training)
    create_topics(settings)
    with serving(settings, tmp_path / "one") as one:
        assert not one.ready()[0]
        eventually(lambda: one.ready() == (True, "leading"))
        with serving(settings, tmp_path / "two") as two:
            eventually(lambda: two.ready() == (True, "standing by"))
            broker.kill()
            eventually(lambda: not one.ready()[0])
            eventually(lambda: not two.ready()[0])
            broker.restart()
            eventually(lambda: sorted((one.ready(), two.ready())) == [(True, "leading"), (True, "standing by")])
    broker.stop()
