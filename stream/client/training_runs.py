"""Training runs: asking the trainer for one, and following it, over the topic `checkpoints`.

A request is a record with key `train`: `{"action": "train", "run", "requested_at"}`. The trainer answers with records
of key `training-run`: `{"run", "state", "checkpoint", "detail", "at"}`.

Invariant: following starts at the request's own offset, so no answer is missed, and it ends: with the run, or in time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Literal

import msgspec
from kafka import TopicPartition

from store.checkpoints import TRAIN_KEY, RunRecord, TrainRequest, decode_record
from store.settings import Settings
from store.topics import CHECKPOINTS
from stream.client.publisher import Publisher
from stream.kafka.connections import reader


class TrainerSilentError(TimeoutError):
    """No trainer answers: start one with `sidestream trainer`, or look at the log of the one that runs."""


def request_training(settings: Settings, codebook: Literal["", "refresh", "anew"] = "") -> tuple[TrainRequest, int]:
    """Asks for a run now; returns the request and its offset on `checkpoints`."""
    request = TrainRequest(run=f"run-{uuid.uuid4().hex[:12]}", requested_at=time.time(), codebook=codebook)
    with Publisher(settings=settings, framing=None) as publisher:
        delivery = publisher.send(CHECKPOINTS, TRAIN_KEY.decode(), msgspec.json.encode(request))
        return request, delivery.result().offset


def follow(
    settings: Settings, run: str, offset: int, *, answer_s: float = 30.0, timeout_s: float = 3600.0
) -> Iterator[RunRecord]:
    """The steps of a run as they happen, up to its end.

    Raises `TrainerSilentError` when none comes within `answer_s`, or the end not within `timeout_s`.
    """
    began = time.monotonic()
    answered = False
    place = TopicPartition(settings.topic(CHECKPOINTS), 0)
    with reader(settings, [place], fetch_max_wait_ms=200) as consumer:
        consumer.seek(place, offset)
        while True:
            waited_s = time.monotonic() - began
            if waited_s > (timeout_s if answered else answer_s):
                raise TrainerSilentError(_silence(run, answered, timeout_s if answered else answer_s))
            for record in consumer.poll(timeout_ms=500).get(place, []):
                said = decode_record(record.key, record.value)
                if isinstance(said, RunRecord) and said.run == run:
                    answered = True
                    yield said
                    if said.ended:
                        return


def _silence(run: str, answered: bool, waited_s: float) -> str:
    if answered:
        return f"{run} did not end within {waited_s:g} s: look at the trainer's log, or wait longer with --timeout"
    return f"no trainer took up {run} within {waited_s:g} s: start one with `sidestream trainer`, or look at its log"
