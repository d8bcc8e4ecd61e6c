"""Deliveries: what became of what was published, and what can go wrong on the way.

Invariant: a `Delivery` is finished exactly once: acknowledged with an offset, failed with an error, or spilled: on the
disk of its publisher, which sends it when a broker answers again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from kafka.errors import (
    IllegalStateError,
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumberError,
    UnknownProducerIdError,
)

from stream.kafka.connections import BrokerUnavailableError

_LOST = (OutOfOrderSequenceNumberError, UnknownProducerIdError, InvalidProducerEpochError, IllegalStateError)
"""A client has lost the thread with its broker, or was closed: another one may send what it held."""


class PublishTimeoutError(TimeoutError):
    """The broker does not keep up: publish more slowly, raise `max_buffered_bytes`, or look at the broker."""


class DeliveryError(RuntimeError):
    """The broker did not take a record: the message says why; its events are not on the log, publish them again."""


@dataclass(frozen=True, slots=True)
class Framing:
    """When a frame is closed: at `events`, at `max_bytes`, or when its first event is `linger_s` old."""

    events: int = 500
    max_bytes: int = 256 << 10
    linger_s: float = 0.02


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a record may be on its way, how much may be held, and how long a publisher waits for room."""

    delivery_timeout_s: float
    max_buffered_bytes: int
    block_s: float


class Delivery:
    """What became of one record: one event, or a frame of `events`. Shared by all events of a frame."""

    __slots__ = ("_done", "error", "events", "offset", "partition", "spilled", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = -1
        self.events = 0
        self.error: Exception | None = None
        self.spilled = False
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether it is acknowledged, spilled or failed."""
        return self._done.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until it is acknowledged, spilled or failed; None: until its time is over. Whether it is."""
        return self._done.wait(timeout_s)

    def result(self, timeout_s: float | None = None) -> Delivery:
        """Itself once acknowledged or `spilled`; raises `DeliveryError` when it failed, and `PublishTimeoutError` when
        it has not ended after `timeout_s` (None: waits until its time is over, then it has)."""
        if not self.wait(timeout_s):
            raise PublishTimeoutError(f"no acknowledgement from {self.topic} within {timeout_s:g} s")
        if self.error is not None:
            raise DeliveryError(f"{self.topic} partition {self.partition}: {self.error}") from self.error
        return self

    def finish(self, offset: int, error: Exception | None, spilled: bool = False) -> None:
        """Called once, by the publisher."""
        self.offset = offset
        self.spilled = spilled
        self.error = error
        self._done.set()


def is_away(error: Exception) -> bool:
    """Whether an error says that no broker was there to take or refuse a record."""
    retriable = isinstance(error, KafkaError) and error.retriable
    return retriable or isinstance(error, (KafkaTimeoutError, BrokerUnavailableError, *_LOST))
