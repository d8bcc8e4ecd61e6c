"""Announcements: the trainer's side of the topic `checkpoints`: what people ask, what became of it, what shall serve.

Invariant: `follow` has read the topic from its beginning up to the position it remembers, so the open runs and the
serving checkpoint are functions of the log; `say` and `offer` return only when the broker has acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from store.checkpoints import (
    CHECKPOINT_KEY,
    RUN_KEY,
    CheckpointRecord,
    Manifest,
    RunRecord,
    TrainRequest,
    decode_record,
    serving,
)
from store.log import Log, client_options
from store.settings import Settings
from trainer.runs.codebook_choice import Wish

State = Literal["queued", "started", "trained", "gated", "published", "refused", "failed"]


class RunLog:
    """Reads and writes `checkpoints`. `requests`: runs that people asked for, by id; `started`: attempts by run."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._topic = settings.topic("checkpoints")
        self._log = log
        self._producer: KafkaProducer | None = None
        self._position = 0
        self._offers: list[CheckpointRecord] = []
        self._requests: dict[str, TrainRequest] = {}
        self._started: dict[str, int] = {}
        self._ended: set[str] = set()
        self._queued: set[str] = set()

    def follow(self) -> None:
        """Reads what is new."""
        end = self._log.ends(self._topic).get(0, 0)
        if end <= self._position:
            return
        for record in self._log.read(self._topic, {0: self._position}, {0: end}):
            self._take(decode_record(record.key, record.value), record.offset)
        self._position = end

    def _take(self, said: CheckpointRecord | TrainRequest | RunRecord | None, offset: int) -> None:
        if isinstance(said, CheckpointRecord):
            self._offers.append(said)
        elif isinstance(said, TrainRequest):
            self._requests[said.run or f"request-{offset}"] = said
        elif isinstance(said, RunRecord) and said.state == "started":
            self._started[said.run] = self._started.get(said.run, 0) + 1
        elif isinstance(said, RunRecord) and said.ended:
            self._ended.add(said.run)

    def waiting(self) -> list[str]:
        """Runs that people asked for and that have not ended."""
        return [run for run in self._requests if run not in self._ended]

    def greet(self, busy_with: Sequence[str]) -> None:
        """Tells people who ask during a run that their wish was heard and comes next."""
        self.follow()
        new = [run for run in self.waiting() if run not in self._queued and run not in busy_with]
        self._queued.update(new)
        self.say(new, "queued", detail="it comes after the run in progress")

    def close_abandoned(self, attempts: int) -> None:
        """Closes the runs that a trainer before this one left open. A person's request stays open until it was tried
        `attempts` times."""
        for run, tried in self._started.items():
            if run not in self._ended and (run not in self._requests or tried >= attempts):
                self.say([run], "failed", detail=f"the trainer ended during the run (attempt {tried}): ask again")

    def serving(self) -> CheckpointRecord | None:
        """What every scorer shall serve, as far as this was read."""
        return serving(self._offers)

    def wish(self, runs: Sequence[str]) -> Wish:
        """What the people who asked for these runs want done with the codebook: the last word counts."""
        wishes = [self._requests[run].codebook for run in runs if run in self._requests]
        return next((wish for wish in reversed(wishes) if wish), "")

    def say(
        self, runs: Sequence[str], state: State, checkpoint: str = "", detail: str = "", churn: Sequence[float] = ()
    ) -> None:
        """Tells how far some runs are."""
        for run in runs:
            record = RunRecord(
                run=run, state=state, at=time.time(), checkpoint=checkpoint, detail=detail, churn=[*churn]
            )
            self.send(RUN_KEY, msgspec.json.encode(record))
            if record.ended:
                self._ended.add(run)

    def offer(self, manifest: Manifest, location: str) -> None:
        """Tells every scorer of a judged checkpoint; the ones that did not pass are listed, not served."""
        record = CheckpointRecord(
            checkpoint=manifest.checkpoint,
            parent=manifest.parent,
            location=location,
            verdict=manifest.verdict,
            published_at=time.time(),
            codebook=manifest.codebook,
            data_until=manifest.data_until,
        )
        self.send(CHECKPOINT_KEY, msgspec.json.encode(record))
        self._offers.append(record)  # read again by the next `follow`, which changes nothing

    def send(self, key: bytes, value: bytes) -> None:
        """One record on the topic, acknowledged by all replicas. Compressed: a ranker's trees shrink to a third."""
        if self._producer is None:
            self._producer = KafkaProducer(
                acks="all",
                compression_type="gzip",
                max_request_size=16 << 20,
                allow_auto_create_topics=False,
                **client_options(self._settings.kafka),
            )
        self._producer.send(self._topic, key=key, value=value).get(timeout=30)

    def close(self) -> None:
        if self._producer is not None:
            with suppress(KafkaError):
                self._producer.close(timeout=5)
            self._producer = None
