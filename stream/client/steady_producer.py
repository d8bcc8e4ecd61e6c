"""A Kafka producer that is made anew when it is stuck.

kafka-python's producer may wait without end for the answer to a request that an outage swallowed (a broker that stood
still, a cut network): it then looks at no deadline, and sends nothing, though the broker has long been back.

Invariant: while records are overdue that the client has said nothing of, a new one is tried; when one is connected and
they still are, it takes over. What the old one holds is given up, and fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaProducer

from stream.kafka.connections import BrokerUnavailableError, close_producer
from stream.kafka.emitter_lane import Header

RETRY_S = 1.0
"""Between two attempts, and the time in which the old client may come to itself once the broker answers."""


class SteadyProducer:
    """`connect` makes a connected producer, or raises `BrokerUnavailableError`."""

    def __init__(self, connect: Callable[[], KafkaProducer]) -> None:
        self._connect = connect
        self._producer = connect()
        self._lock = threading.Lock()
        self._overdue = 0
        self._renewal: threading.Thread | None = None
        self._closed = threading.Event()

    def send(self, topic: str, key: bytes, value: bytes | None, partition: int, headers: Sequence[Header] = ()) -> Any:
        """A future of kafka-python's."""
        return self._producer.send(topic, value=value, key=key, partition=partition, headers=list(headers))

    def partitions_for(self, topic: str) -> set[int]:
        found: set[int] = self._producer.partitions_for(topic)
        return found

    def missed(self) -> None:
        """A record's time is over, and the client has not said so."""
        with self._lock:
            self._overdue += 1
            if self._renewal is None and not self._closed.is_set():
                self._renewal = threading.Thread(target=self._renew, name="sidestream-renewal", daemon=True)
                self._renewal.start()

    def said_late(self) -> None:
        """The client has said, after all, what came of a record that was overdue."""
        with self._lock:
            self._overdue -= 1

    def _renew(self) -> None:
        while self._overdue and not self._closed.wait(RETRY_S):
            try:
                fresh = self._connect()
            except BrokerUnavailableError:
                continue
            self._closed.wait(RETRY_S)
            if self._overdue and not self._closed.is_set():
                self._producer, fresh = fresh, self._producer
            close_producer(fresh, timeout_s=0.0)
        with self._lock:
            self._renewal = None

    def close(self) -> None:
        """What the client holds a second later is given up, and fails."""
        self._closed.set()
        if (renewal := self._renewal) is not None:
            renewal.join()
        close_producer(self._producer)
