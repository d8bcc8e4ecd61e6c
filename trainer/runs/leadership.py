"""Leadership: of all trainers of one system exactly one is at work; the others stand by and take over when it ends.

It is Kafka's own election: the trainers form a consumer group on `checkpoints`, which has one partition; who is given
it leads. Nothing is read or committed. The sticky assignor leaves it with who has it when another trainer comes.

Invariant: a process that stood still for as long as the group waits for a member does not lead when it wakes up, until
the group has said so anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError

from store.reporting.outages import Outage
from store.security import client_options
from store.settings import Settings
from store.topics import CHECKPOINTS, trainer_group

log = logging.getLogger(__name__)

Standing = Literal["leading", "standing by", "undecided"]

PATIENCE = 3.0
"""The group waits for so many of a worker's session times: a machine that is busy with learning is slow to answer, and
nothing that a trainer does is urgent."""
POLL_S = 0.3
SILENT_S = 10.0
"""A group that takes longer to decide has no broker."""


class Leadership(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """This process's part in the election, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session_s = PATIENCE * settings.kafka.session_timeout_s
        self._standing: Standing = "undecided"
        self._polled_at = time.monotonic()
        self._undecided_since = time.monotonic()
        self._away = Outage(log, "no broker answers the trainer", "it stands by until one does")
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Leaves the group: who stands by takes over at once."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    @property
    def standing(self) -> Standing:
        """`undecided` while the group decides, or after this process stood still."""
        return "undecided" if self._stood_still() else self._standing

    def _stood_still(self) -> bool:
        return time.monotonic() - self._polled_at >= self._session_s

    def _run(self) -> None:
        while not self._closed.is_set():
            self._standing = "undecided"
            try:
                self._take_part()
            except KafkaError as error:
                self._away.met(error)
            self._closed.wait(1.0)

    def _take_part(self) -> None:
        """As a member, until closed, or until this process stood still or heard nothing for a session's time: then it
        begins anew. A client may miss that the group has decided, and then it is no member for long."""
        consumer = self._member()
        try:
            self._polled_at = self._undecided_since = time.monotonic()
            while not (self._closed.is_set() or self._stood_still() or self._undecided_s() > self._session_s):
                consumer.pause(*consumer.assignment())
                consumer.poll(timeout_ms=int(POLL_S * 1000))
                if not self._stood_still():
                    self._polled_at = time.monotonic()
                self._note()
        finally:
            self._standing = "undecided"
            with suppress(KafkaError):
                consumer.close()

    def _note(self) -> None:
        """Whether the group decides at all: a client of it goes on in silence without a broker."""
        if self._standing != "undecided":
            self._undecided_since = time.monotonic()
            self._away.over()
        elif self._undecided_s() > SILENT_S:
            self._away.met("the group has not decided who is at work")

    def _undecided_s(self) -> float:
        return time.monotonic() - self._undecided_since

    def _member(self) -> KafkaConsumer:
        consumer = KafkaConsumer(
            group_id=trainer_group(self._settings.kafka.group),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            partition_assignment_strategy=[StickyPartitionAssignor],
            session_timeout_ms=int(self._session_s * 1000),
            heartbeat_interval_ms=int(self._settings.kafka.heartbeat_s * 1000),
            **client_options(self._settings.kafka),
        )
        topic = self._settings.topic(CHECKPOINTS)
        consumer.subscribe([topic], listener=self)
        # Known before the first poll: else the member joins without it, once more when it is known, and is lost where
        # that ends between two polls (kafka-python 3.0.12 forgets such a join).
        try:
            consumer.end_offsets([TopicPartition(topic, 0)])
        except KafkaError:
            consumer.close()
            raise
        return consumer

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        """The group decides again; Kafka's clients call it."""
        self._standing = "undecided"

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """The group has decided; Kafka's clients call it."""
        self._standing = "leading" if list(assigned) else "standing by"
