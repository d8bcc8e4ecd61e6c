"""A Kafka producer that is given up as a whole when it does not get on, and made anew once a broker answers.

What one Kafka client did not deliver may only be sent by the next one if the first sends nothing more: else later
records of a partition could come before earlier ones. kafka-python cannot take single records back, so the client ends.

Invariant: `client` is connected, and the only one that sends; or it is None, and the one before has ended or is ending.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaProducer

from store.reporting.outages import Outage
from stream.kafka.connections import BrokerRefusedError, BrokerUnavailableError, abort_producer, close_producer
from stream.kafka.emitter_lane import Header

RETRY_S = 1.0
"""Between two attempts to connect."""
END_S = 5.0
"""So long the thread of a client that was given up may need for its end."""


class FreshProducer:
    """`connect` makes a connected producer, or raises `BrokerUnavailableError`; with `may_wait` that nobody answers is
    no error at first either. `away`: how it is told that there is none."""

    def __init__(self, connect: Callable[[], KafkaProducer], away: Outage, *, may_wait: bool = False) -> None:
        self._connect = connect
        self._away = away
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._renewal: threading.Thread | None = None
        self.client: KafkaProducer | None = None
        try:
            self.client = connect()
        except BrokerUnavailableError as error:
            if not may_wait or isinstance(error, BrokerRefusedError):
                raise
            self._away.met(error)
            self._renew(None)

    def send(self, topic: str, key: bytes, value: bytes | None, partition: int, headers: Sequence[Header] = ()) -> Any:
        """A future of kafka-python's. Raises `BrokerUnavailableError` while there is no client."""
        return self._current().send(topic, value=value, key=key, partition=partition, headers=list(headers))

    def partitions_for(self, topic: str) -> set[int]:
        found: set[int] = self._current().partitions_for(topic)
        return found

    def give_up(self, client: KafkaProducer | None, why: object) -> None:
        """Ends this client, if it is the one that sends: what it holds is not sent any more, and fails. The next one
        connects when it has ended."""
        with self._lock:
            if client is not None and client is self.client and not self._closed.is_set():
                self.client = None
                self._away.met(why)
                self._renew(client)

    def close(self) -> None:
        """What the client holds is given up, and fails. An attempt to connect that is on its way ends by itself."""
        self._closed.set()
        if (renewal := self._renewal) is not None:
            renewal.join(2 * RETRY_S)
        with self._lock:
            last, self.client = self.client, None
        if last is not None:
            close_producer(last)

    def _current(self) -> KafkaProducer:
        client = self.client
        if client is None:
            raise BrokerUnavailableError("the brokers", "no connection yet")
        return client

    def _renew(self, old: KafkaProducer | None) -> None:
        self._renewal = threading.Thread(target=self._take_over, args=(old,), name="sidestream-renewal", daemon=True)
        self._renewal.start()

    def _take_over(self, old: KafkaProducer | None) -> None:
        if old is not None:
            abort_producer(old, END_S)
        while not self._closed.is_set():
            try:
                fresh = self._connect()
            except Exception as error:  # whatever it is: this thread is the only one that connects
                self._away.met(error)
                self._closed.wait(RETRY_S)
                continue
            with self._lock:
                if not self._closed.is_set():
                    self.client = fresh
            if self.client is None:
                close_producer(fresh, timeout_s=0.0)
                return
            self._away.over()
            return
