"""Sending: records on their way to the log, how much of them may be held, and how each ends.

Invariant: every record that is handed over belongs to one `Delivery`, which ends exactly once, within
`delivery_timeout_s`; no more than `max_buffered_bytes` are held, records that failed included until the Kafka client
lets go of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kafka import KafkaProducer

from store.settings import Settings
from stream.client.outstanding import Outstanding
from stream.client.steady_producer import SteadyProducer
from stream.kafka.connections import connect_producer
from stream.kafka.deliveries import Delivery, Patience, PublishTimeoutError
from stream.kafka.emitter_lane import Header
from stream.kafka.topics import partition_count

log = logging.getLogger(__name__)


class Sending:
    """Hands records to a Kafka client. `on_delivery`: as the publisher says. `lock` guards all of it, and whoever needs
    what it holds to stay as it is; it is reentrant, as a record that fails at once is settled by who hands it over."""

    def __init__(
        self,
        settings: Settings,
        patience: Patience,
        *,
        compression: str | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> None:
        self._settings = settings
        self._patience = patience
        self._on_delivery = on_delivery
        self.lock = threading.RLock()
        self.begun = threading.Condition(self.lock)
        """Told when a record is on its way and none was before."""
        self._changed = threading.Condition(self.lock)
        self.outstanding = Outstanding(settings.kafka.bootstrap_servers, patience.delivery_timeout_s)
        self.buffered = 0
        self._partitions: dict[str, int] = {}
        timeout_s = patience.delivery_timeout_s
        self._connect: Callable[[], KafkaProducer] = partial(
            connect_producer,
            settings,
            max_block_ms=2000,  # how long a topic may be unknown; back-pressure is ours
            compression_type=compression,
            request_timeout_ms=int(min(10.0, 0.8 * timeout_s) * 1000),
            delivery_timeout_ms=self._client_timeout_ms(),
            batch_size=128 << 10,
            linger_ms=1,
        )
        self._producer: Any = self._connected()

    @property
    def waiting(self) -> int:
        """Events in the spill, where there is one."""
        return 0

    def partitions(self, topic: str) -> int:
        """How many the topic has. Raises `TopicsError` and `BrokerUnavailableError`."""
        count = self._partitions.get(topic)
        if count is None:
            count = self._partitions[topic] = partition_count(self._settings, topic, self._producer.partitions_for)
        return count

    def reserve(self, size: int) -> None:
        """Back-pressure: waits until `size` more bytes may be held. Called with the lock held. Raises
        `PublishTimeoutError`."""
        deadline = time.monotonic() + self._patience.block_s
        while self.buffered and self.buffered + size > self._patience.max_buffered_bytes:
            if self._changed.wait(deadline - time.monotonic()):
                continue
            if not self._make_room():
                raise PublishTimeoutError(
                    f"{self.buffered} bytes wait for {self._settings.kafka.bootstrap_servers} and none were "
                    f"acknowledged for {self._patience.block_s:g} s: look at the broker, or publish more slowly"
                )
            deadline = time.monotonic() + self._patience.block_s
        self.buffered += size

    def hand_over(
        self, delivery: Delivery, key: bytes, value: bytes | None, size: int, headers: Sequence[Header] = ()
    ) -> None:
        """Gives the record to the Kafka client; `size` was reserved for it. Whatever becomes of it ends its delivery.

        Called with the lock held, so that the records of a partition leave in the order of their events.
        """
        self.outstanding.open(delivery)
        self._tell_begun()
        self._send(delivery, key, value, size, headers)

    def end_overdue(self) -> None:
        """Deliveries whose time is over have failed."""
        with self.lock:
            overdue = self.outstanding.overdue()
        for delivery in overdue:
            if self._end(delivery, -1, self.outstanding.timeout()):
                self._producer.missed()

    def flush(self, timeout_s: float) -> None:
        """Returns when everything that was handed over has ended. Raises `PublishTimeoutError` and `DeliveryError`."""
        deadline = time.monotonic() + timeout_s
        with self.lock:
            while self.outstanding:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise PublishTimeoutError(
                        f"{len(self.outstanding)} records not acknowledged within {timeout_s:g} s by "
                        f"{self._settings.kafka.bootstrap_servers}: look at the broker, then flush again"
                    )
        self._settled(deadline)
        with self.lock:
            self.outstanding.raise_failures()

    def close(self) -> None:
        """Disconnects; every delivery has ended then."""
        self._producer.close()
        for delivery in self.outstanding.all():
            self._end(delivery, -1, PublishTimeoutError("the publisher was closed: publish its events again"))

    # What is done in another way where there is a spill.

    def _client_timeout_ms(self) -> int:
        """When the client gives a record up."""
        return int(0.95 * self._patience.delivery_timeout_s * 1000) + 2

    def _connected(self) -> Any:
        return SteadyProducer(self._connect)

    def _make_room(self) -> bool:
        """The buffer stayed full. Whether something was done about it."""
        return False

    def _settled(self, deadline: float) -> None:
        """Everything that was handed over has ended: what else a flush waits for."""

    def _said(self, delivery: Delivery, size: int, answer: Any, error: Exception | None) -> None:
        """The client lets go of a record."""
        with self.lock:
            self._release(size)
        if not self._end(delivery, -1 if answer is None else answer.offset, error):
            self._producer.said_late()

    # How it happens.

    def _send(self, delivery: Delivery, key: bytes, value: bytes | None, size: int, headers: Sequence[Header]) -> None:
        try:
            sent = self._producer.send(delivery.topic, key, value, delivery.partition, headers)
        except Exception as error:  # whatever it is: the event was accepted, so its delivery must end
            self._said(delivery, size, None, error)
            return
        sent.add_callback(lambda answer: self._said(delivery, size, answer, None))
        sent.add_errback(lambda error: self._said(delivery, size, None, error))

    def _tell_begun(self) -> None:
        if self.outstanding.with_client == 1:
            self.begun.notify_all()

    def _release(self, size: int) -> None:
        self.buffered -= size
        self._changed.notify_all()

    def _end(self, delivery: Delivery, offset: int, error: Exception | None) -> bool:
        """Whether it had not ended before."""
        with self.lock:
            if not self.outstanding.finish(delivery, offset, error):
                return False
            self._changed.notify_all()
        self._report(delivery)
        return True

    def _report(self, delivery: Delivery) -> None:
        if self._on_delivery is not None:
            try:
                self._on_delivery(delivery)
            except Exception:
                log.exception("on_delivery failed for a record of %s", delivery.topic)
