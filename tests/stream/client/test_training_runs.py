"""Asking for a training run and following it, with the trainer's records written by the test."""

from __future__ import annotations

import msgspec
import pytest

from store.checkpoints import decode_record
from store.settings import Settings
from stream.client.publisher import Publisher
from stream.client.training_runs import TrainerSilentError, follow, request_training
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "runs.")
    create_topics(settings)
    return settings


def answer(settings: Settings, *records: object) -> None:
    with Publisher(settings=settings, framing=None) as publisher:
        for record in records:
            publisher.send("checkpoints", "training-run", msgspec.json.encode(record))


def test_a_run_is_followed_to_its_end_and_others_are_not(settings: Settings) -> None:
    request, offset = request_training(settings)
    asked = read_topic(settings, "checkpoints")[offset]
    assert asked.key == b"train"
    assert decode_record(asked.key, asked.value) == request
    answer(
        settings,
        {"run": request.run, "state": "started", "at": 1.0},
        {"run": "another", "state": "failed", "at": 1.5},
        "not a step",
        {"run": request.run, "state": "gated", "checkpoint": "c1", "detail": "passed", "at": 2.0},
        {"run": request.run, "state": "published", "checkpoint": "c1", "at": 3.0},
        {"run": request.run, "state": "failed", "at": 4.0},
    )
    steps = list(follow(settings, request.run, offset))
    assert [step.state for step in steps] == ["started", "gated", "published"]
    assert [step.checkpoint for step in steps] == ["", "c1", "c1"]
    assert steps[-1].ended


def test_no_trainer_is_said(settings: Settings) -> None:
    request, offset = request_training(settings)
    with pytest.raises(TrainerSilentError, match="sidestream trainer"):
        list(follow(settings, request.run, offset, answer_s=0.3))


def test_a_run_without_end_is_said(settings: Settings) -> None:
    request, offset = request_training(settings)
    answer(settings, {"run": request.run, "state": "started", "at": 1.0})
    with pytest.raises(TrainerSilentError, match="--timeout"):
        list(follow(settings, request.run, offset, timeout_s=0.5))
