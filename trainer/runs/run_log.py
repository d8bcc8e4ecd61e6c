"""The run log: the trainer's side of the topic `checkpoints`: requested runs, their states, and what serves.

Invariant: `follow` has read the topic from its beginning up to the position it remembers, so the open runs and the
serving checkpoint are functions of the log; `report` and `publish_checkpoint` return when the broker has acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Literal

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from store.checkpoints import (
    CHECKPOINT_KEY,
    RUN_KEY,
    AnyRecord,
    CheckpointRecord,
    Manifest,
    RunRecord,
    TrainRequest,
    record_in,
    serving,
)
from store.log import Log
from store.records.foreign import ForeignRecordError
from store.security import client_options
from store.settings import Settings
from store.topics import CHECKPOINTS
from trainer.runs.causes.codebook_choice import CodebookRequest

State = Literal["queued", "started", "trained", "gated", "published", "refused", "failed"]


class RunLog:
    """Reads and writes `checkpoints`. `requests`: runs that people asked for, by id; `started`: attempts by run."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._topic = settings.topic(CHECKPOINTS)
        self._log = log
        self._producer: KafkaProducer | None = None
        self._position = 0
        self._checkpoints: list[CheckpointRecord] = []
        self._requests: dict[str, TrainRequest] = {}
        self._started: dict[str, int] = {}
        self._ended: set[str] = set()
        self._queued: set[str] = set()

    def follow(self) -> None:
        """Reads what is new."""
        end = self._log.ends(self._topic).get(0, 0)
        if end < self._position:  # the topic was created anew, or cut
            self._position = 0
        if end <= self._position:
            return
        for record in self._log.read(self._topic, {0: self._position}, {0: end}):
            try:
                self._absorb(record_in(record.key, record.value), record.offset)
            except ForeignRecordError as error:
                self._log.foreign.met(CHECKPOINTS, record, error)
        self._position = end

    def _absorb(self, record: AnyRecord, offset: int) -> None:
        if isinstance(record, CheckpointRecord):
            self._checkpoints.append(record)
        elif isinstance(record, TrainRequest):
            self._requests[record.run or f"request-{offset}"] = record
        elif isinstance(record, RunRecord) and record.state == "started":
            self._started[record.run] = self._started.get(record.run, 0) + 1
        elif isinstance(record, RunRecord) and record.ended:
            self._ended.add(record.run)

    def open_requests(self) -> list[str]:
        """Requested runs that have not ended."""
        return [run for run in self._requests if run not in self._ended]

    def queue_new_requests(self, running: Sequence[str]) -> None:
        """Reports runs that were requested during another one as queued."""
        self.follow()
        new = [run for run in self.open_requests() if run not in self._queued and run not in running]
        self._queued.update(new)
        self.report(new, "queued", detail="it comes after the run in progress")

    def still_open(self, runs: Sequence[str]) -> list[str]:
        """Those that have not ended."""
        return [run for run in runs if run not in self._ended]

    def close_abandoned(self, attempts: int, begun: Collection[str] = ()) -> None:
        """Closes the runs that a trainer before this one left open. A person's request, and a run that can be gone on
        with (`begun`), stay open until they were tried `attempts` times."""
        for run, tried in self._started.items():
            wanted = run in self._requests or run in begun
            if run not in self._ended and (not wanted or tried >= attempts):
                self.report([run], "failed", detail=f"the trainer ended during the run (attempt {tried}): ask again")

    def serving(self) -> CheckpointRecord | None:
        """What every scorer shall serve, as far as this was read."""
        return serving(self._checkpoints)

    def codebook_request(self, runs: Sequence[str]) -> CodebookRequest:
        """What the requests of these runs want done with the codebook: the last one counts."""
        requested = [self._requests[run].codebook for run in runs if run in self._requests]
        return next((one for one in reversed(requested) if one), "")

    def report(
        self, runs: Sequence[str], state: State, checkpoint: str = "", detail: str = "", churn: Sequence[float] = ()
    ) -> None:
        """Appends the state of some runs."""
        for run in runs:
            record = RunRecord(
                run=run, state=state, at=time.time(), checkpoint=checkpoint, detail=detail, churn=[*churn]
            )
            self._send(RUN_KEY, msgspec.json.encode(record))
            if record.ended:
                self._ended.add(run)

    def publish_checkpoint(self, manifest: Manifest, location: str) -> None:
        """Announces a judged checkpoint to every scorer; one that did not pass is listed, not served."""
        record = CheckpointRecord(
            checkpoint=manifest.checkpoint,
            parent=manifest.parent,
            location=location,
            verdict=manifest.verdict,
            published_at=time.time(),
            codebook=manifest.codebook,
            data_until=manifest.data_until,
            reasons=manifest.reasons,
        )
        self._send(CHECKPOINT_KEY, msgspec.json.encode(record))
        self._checkpoints.append(record)  # read again by the next `follow`, which changes nothing

    def _send(self, key: bytes, value: bytes) -> None:
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
