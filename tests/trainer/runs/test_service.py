"""The trainer as it runs: on a broker, asked, stopped, killed, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from kafka import KafkaProducer

from store.checkpoints import (
    CheckpointFolder,
    CheckpointRecord,
    RunRecord,
    TrainRequest,
    decode_record,
    verify,
)
from store.log import Log
from store.records.frames import frame
from store.settings import Codebook, Events, Kafka, Model, Settings, Training
from stream.kafka.topics import create_topics
from tests.clusters import ON_EMBEDDED, ON_KAFKA, REPOSITORY, EmbeddedCluster, KafkaCluster
from tests.trainer.worlds import WEIGHTS, cards, stream
from tests.waiting import PATIENCE_S, eventually
from trainer.checkpoint_loading import load_checkpoint
from trainer.runs.log_window import read_window
from trainer.runs.service import TrainerService
from trainer.runs.starting.work_folder import WorkFolder
from trainer.runs.training_run import offsets_of, run_training

TINY = Training(
    min_engagements=100,
    first_engagements=10_000,
    gate_engagements=100,
    gate_floor=0.1,
    max_steps=40,
    max_seconds=20.0,
    metrics_port=-1,
    niceness=0,
)


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster, tmp_path: Path) -> Settings:
    name = f"t{uuid.uuid4().hex[:6]}"
    kafka = Kafka(
        bootstrap_servers=cluster.bootstrap_servers,
        topic_prefix=f"{name}.",
        group=name,
        partitions=2,
        session_timeout_s=2.0,
        heartbeat_s=0.5,
    )
    made = Settings(
        data_dir=str(tmp_path),
        kafka=kafka,
        events=Events(weights=WEIGHTS),
        model=Model(layers=1, width=32, heads=2, text_vocabulary=320),
        codebook=Codebook(learn_after_items=10_000),
        training=TINY,
    )
    create_topics(made)
    return made


def publish_world(settings: Settings, producer: KafkaProducer, users: int = 60, each: int = 8, seed: int = 0) -> None:
    for card in cards("from elsewhere").values():
        producer.send(settings.topic("semantic-ids"), key=card.item_id.encode(), value=msgspec.json.encode(card))
    events = stream(users, each, seed)
    for begin in range(0, len(events), 8):  # frames of one user's partition: 8 events of one step, split by parity
        for parity in (0, 1):
            part = [e for e in events[begin : begin + 8] if int(e.user_id.split("-")[1]) % 2 == parity]
            value = frame([msgspec.json.encode(e) for e in part])
            producer.send(settings.topic("engagements"), value=value, partition=parity)
    producer.flush()


def ask(settings: Settings, producer: KafkaProducer, run: str) -> None:
    value = msgspec.json.encode(TrainRequest(requested_at=time.time(), run=run))
    producer.send(settings.topic("checkpoints"), key=b"train", value=value).get(timeout=10)


def said(settings: Settings) -> list[CheckpointRecord | TrainRequest | RunRecord]:
    with Log(settings.kafka) as log:
        found = [decode_record(r.key, r.value) for r in log.read_all(settings.topic("checkpoints"))]
    return [one for one in found if one is not None]


def states(settings: Settings, run: str) -> list[str]:
    return [one.state for one in said(settings) if isinstance(one, RunRecord) and one.run == run]


def ended(settings: Settings, run: str) -> bool:
    return any(isinstance(one, RunRecord) and one.run == run and one.ended for one in said(settings))


@pytest.fixture
def serving(settings: Settings) -> Iterator[TrainerService]:
    service = TrainerService(settings)
    thread = threading.Thread(target=service.serve)
    thread.start()
    yield service
    service.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@ON_KAFKA
def test_of_two_trainers_one_runs_what_is_asked_for_and_the_other_takes_over(
    settings: Settings, producer: KafkaProducer, serving: TrainerService, tmp_path: Path
) -> None:
    second = TrainerService(msgspec.structs.replace(settings, data_dir=str(tmp_path / "second")))
    thread = threading.Thread(target=second.serve)
    thread.start()
    ask(settings, producer, "one")
    eventually(lambda: ended(settings, "one"))
    time.sleep(1.5)  # one that does not know of the other would have answered, too
    assert states(settings, "one") == ["started", "refused"]  # there is nothing to learn from
    serving.stop()
    ask(settings, producer, "two")
    eventually(lambda: ended(settings, "two"))
    assert states(settings, "two") == ["started", "refused"]
    second.stop()
    thread.join(PATIENCE_S)


@ON_KAFKA
def test_asked_for_a_run_it_trains_judges_publishes_and_goes_on(
    settings: Settings, producer: KafkaProducer, serving: TrainerService
) -> None:
    publish_world(settings, producer)
    ask(settings, producer, "one")
    eventually(lambda: ended(settings, "one"))
    assert states(settings, "one") == ["started", "trained", "gated", "published"]
    offer = next(one for one in said(settings) if isinstance(one, CheckpointRecord))
    manifest = verify(Path(offer.location))
    assert (manifest.verdict, manifest.parent, manifest.codebook) == ("passed", None, offer.codebook)
    topic = settings.topic("engagements")
    with Log(settings.kafka) as log:
        ends = log.ends(topic)
    assert all(0 < offset <= ends[partition] for partition, offset in offsets_of(manifest, topic).items())
    assert sum(offsets_of(manifest, topic).values()) < sum(ends.values())  # the newest were held out
    assert manifest.data_until <= time.time()
    assert 'sidestream_training_runs_total{result="published"} 1.0' in exposition(serving)
    assert 'sidestream_training_runs_total{result="failed"} 0.0' in exposition(serving)

    ask(settings, producer, "two")  # only what was held out is new
    eventually(lambda: ended(settings, "two"))
    publish_world(settings, producer, users=60, each=8, seed=1)
    ask(settings, producer, "three")
    eventually(lambda: ended(settings, "three"))
    folder = CheckpointFolder(settings.checkpoint_folder())
    third = folder.manifest(folder.ids()[-1])
    assert third.parent is not None
    begins = {name: reached.begin for name, reached in third.log.items()}
    assert begins == {name: reached.end for name, reached in folder.manifest(third.parent).log.items()}
    load_checkpoint(folder, third.checkpoint)


def exposition(service: TrainerService) -> str:
    from prometheus_client import generate_latest

    return generate_latest(service.metrics.registry).decode()


def test_too_little_data_is_said_with_what_is_missing(
    settings: Settings, producer: KafkaProducer, serving: TrainerService
) -> None:
    publish_world(settings, producer, users=4, each=5)
    ask(settings, producer, "early")
    eventually(lambda: "refused" in states(settings, "early"))
    end = next(one for one in said(settings) if isinstance(one, RunRecord) and one.state == "refused")
    assert "80 are missing" in end.detail
    assert CheckpointFolder(settings.checkpoint_folder()).ids() == []


PROCESS = """
import sys
from pathlib import Path
from store.settings import load_settings
from trainer.runs.service import run_trainer
sys.exit(run_trainer(load_settings(Path(sys.argv[1]))))
"""


def start(settings: Settings) -> subprocess.Popen[bytes]:
    from store.settings import to_toml

    file = Path(settings.data_dir) / "settings.toml"
    file.write_text(to_toml(settings))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", PROCESS, str(file)], env=environment, stderr=subprocess.DEVNULL)


@ON_EMBEDDED
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_ended_in_mid_run_nothing_is_published_and_the_next_one_goes_on(
    settings: Settings, producer: KafkaProducer, number: int
) -> None:
    settings = msgspec.structs.replace(
        settings, training=msgspec.structs.replace(TINY, max_steps=15, epochs=1e6, keep_state_s=0.0)
    )
    folder = CheckpointFolder(settings.checkpoint_folder())
    publish_world(settings, producer)
    ask(settings, producer, "held")
    process = start(settings)
    try:
        eventually(lambda: list(folder.root.glob(".run/state-?????????")))
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert folder.ids() == []
    assert states(settings, "held") == ["started"]
    (folder.root / ".writing-20270101T000000-0001").mkdir(parents=True)  # as a kill in the middle of a write leaves it
    kept = WorkFolder(folder.root).newest()

    service = TrainerService(settings)
    thread = threading.Thread(target=service.serve)
    thread.start()
    try:
        eventually(lambda: ended(settings, "held"))
        assert states(settings, "held") == ["started", "started", "trained", "gated", "published"]
    finally:
        service.stop()
        thread.join(PATIENCE_S)
    (made,) = folder.ids()
    assert not list(folder.root.glob(".*"))
    assert kept is not None
    assert kept.steps < folder.manifest(made).metrics["training.steps"] == 15


@ON_EMBEDDED
@pytest.mark.long
def test_two_processes_that_torchrun_starts_are_one_trainer(
    settings: Settings, producer: KafkaProducer, tmp_path: Path
) -> None:
    """They publish what one process would, and a stop signal leaves a run open for the next trainer."""
    publish_world(settings, producer)
    with Log(settings.kafka) as log:
        window = read_window(log, settings, {}, time.time(), lambda *_: None)
    alone = run_training(window, settings, CheckpointFolder(tmp_path / "alone"), None, lambda *_: None)
    ask(settings, producer, "together")
    process = start_two(settings)
    try:
        eventually(lambda: ended(settings, "together"), 4 * PATIENCE_S)
        assert states(settings, "together") == ["started", "trained", "gated", "published"]
        folder = CheckpointFolder(settings.checkpoint_folder())
        together = folder.manifest(folder.ids()[0])
        assert together.metrics["training.steps"] == alone.outcome.steps
        for name in ("candidate.overall.hr@10", "training.item_loss"):
            assert together.metrics[name] == pytest.approx(alone.manifest.metrics[name], rel=0.15)
        ask(settings, producer, "stopped")
        eventually(lambda: states(settings, "stopped") == ["started"])
        process.terminate()
        assert process.wait(PATIENCE_S) is not None
    finally:
        process.kill()
        process.wait()
    assert set(states(settings, "stopped")) <= {"started", "trained"}


def start_two(settings: Settings) -> subprocess.Popen[bytes]:
    """The command itself, in two processes of torchrun's."""
    from store.settings import to_toml

    file = Path(settings.data_dir) / "settings.toml"
    file.write_text(to_toml(settings))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    command += [sys.executable, "-m", "stream.cli", "trainer", "--settings", str(file)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)})
