"""Sending with a spill: what the brokers did not take in its time goes there, and behind it what comes later.

When a record's time is over, the Kafka client is given up with all that it holds (`fresh_producer` says why), and that
is written to the spill, in the order in which the client had got it. While the spill holds records of a partition, its
next ones go there too, and so does everything while no client is connected.

Invariant: a delivery ends acknowledged, spilled (it is on the disk), or failed (refused, or there is no room for it);
the records of a partition reach the log in the order in which they were handed over, but for repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer

from store.reporting.outages import Outage
from store.settings import Settings
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS
from stream.client.sending import Sending, log
from stream.client.spilling.broker_clock import BrokerClock
from stream.client.spilling.fresh_producer import FreshProducer
from stream.client.spilling.spill import Spill, Spilled, SpillError
from stream.client.spilling.spilling import Spilling
from stream.kafka.connections import BrokerUnavailableError, close_producer
from stream.kafka.deliveries import Delivery, Patience, is_away
from stream.kafka.emitter_lane import Header
from stream.kafka.topics import TopicsError

NEVER_MS = 2**31 - 1
"""A client that gave a record up by itself could send later ones before it."""
EVENT_TOPICS = (UPLOADS, ENGAGEMENTS, PROFILES)


class SpilledSending(Sending):
    """`spill` is this one's from now on. Starts without a broker if the spill knows the topics from an earlier start;
    else raises `BrokerUnavailableError`. Raises `SpillError` for a spill of another cluster's events."""

    def __init__(
        self,
        settings: Settings,
        patience: Patience,
        spill: Spill,
        *,
        compression: str | None = None,
        on_delivery: Callable[[Delivery], None] | None = None,
    ) -> None:
        self._spill = spill
        self._cluster = spill.noted("cluster")
        self._clock = BrokerClock()
        self._sizes: dict[Delivery, int] = {}
        try:
            super().__init__(settings, patience, compression=compression, on_delivery=on_delivery)
            self._learn_topics()
        except BaseException:
            spill.close()
            raise
        self._spilling = Spilling(
            spill,
            self._producer,
            answer_s=patience.delivery_timeout_s,
            clock=self._clock,
            ended=self._spilled,
            refused=self._refused,
            give_up=self._turn,
        )

    @property
    def waiting(self) -> int:
        waiting: int = self._spilling.waiting
        return waiting

    def hand_over(
        self, delivery: Delivery, key: bytes, value: bytes | None, size: int, headers: Sequence[Header] = ()
    ) -> None:
        """As without a spill; what goes there loses its headers."""
        now_ms = self._clock.now_ms()
        record = Spilled(delivery.topic, delivery.partition, key, value, now_ms, delivery.events)
        self._sizes[delivery] = size
        if self._producer.client is None or self._spilling.holds(record.place):
            self.outstanding.open_aside(delivery)
            self._take(delivery, record)
            return
        self.outstanding.open(delivery, record)
        self._tell_begun()
        self._send(delivery, key, value, size, headers)

    def end_overdue(self) -> None:
        with self.lock:
            if self.outstanding.overdue():
                timeout_s = self._patience.delivery_timeout_s
                self._turn(self._producer.client, f"nothing acknowledged within {timeout_s:g} s")

    def close(self) -> None:
        with self.lock:
            if self.outstanding.with_client:
                self._turn(self._producer.client, "the publisher is closed")
        self._producer.close()
        self._spilling.close()

    def _client_timeout_ms(self) -> int:
        return NEVER_MS

    def _connected(self) -> FreshProducer:
        away = Outage(log, "no broker takes events", f"they go to the spill {self._spill.file}")
        knows_topics = self._spill.noted(f"partitions of {self._settings.topic(ENGAGEMENTS)}") is not None
        return FreshProducer(self._connect_checked, away, may_wait=knows_topics)

    def _connect_checked(self) -> KafkaProducer:
        producer = self._connect()
        found = producer._metadata.cluster_id
        if self._cluster is None or found is None or found == self._cluster:
            return producer
        if self._spill.bytes:
            close_producer(producer, timeout_s=0.0)
            raise SpillError(
                f"the spill {self._spill.file} holds events for the Kafka cluster {self._cluster}, and {found} answers "
                f"at {self._settings.kafka.bootstrap_servers}: give each cluster a spill folder of its own"
            )
        return producer

    def _learn_topics(self) -> None:
        """Keeps what a start without a broker needs to know."""
        client = self._producer.client
        for topic in EVENT_TOPICS:
            name = f"partitions of {self._settings.topic(topic)}"
            if client is not None:
                with suppress(TopicsError, BrokerUnavailableError):  # whoever publishes to it is told
                    self._spill.note(name, str(self.partitions(topic)))
            elif (noted := self._spill.noted(name)) is not None:
                self._partitions[topic] = int(noted)
        if client is not None and client._metadata.cluster_id:
            self._cluster = client._metadata.cluster_id
            self._spill.note("cluster", self._cluster)

    def _make_room(self) -> bool:
        if not self.outstanding.with_client:
            return False
        self._turn(self._producer.client, f"the buffer was full for {self._patience.block_s:g} s")
        return True

    def _settled(self, deadline: float) -> None:
        self._spilling.wait_while_sent(deadline)

    def _said(self, delivery: Delivery, size: int, answer: Any, error: Exception | None) -> None:
        with self.lock:
            if not self.outstanding.is_with_client(delivery):
                return  # the spill has it
            if error is not None and is_away(error):
                self._turn(self._producer.client, f"{error}")
                return
            self._sizes.pop(delivery)
            self._release(size)
        if answer is not None:
            self._clock.told((delivery.topic, delivery.partition), answer.timestamp)
        self._end(delivery, -1 if answer is None else answer.offset, error)

    def _turn(self, client: KafkaProducer | None, why: str) -> None:
        """The client, if it is still at work, is given up, and the spill has what it held."""
        with self.lock:
            if client is not self._producer.client:
                return
            self._producer.give_up(client, why)
            for delivery, record in self.outstanding.set_aside():
                self._take(delivery, record)

    def _take(self, delivery: Delivery, record: Spilled) -> None:
        came_at_ms = self._clock.came_at_ms(record.place, record.came_at_ms)
        self._spilling.take(delivery, record._replace(came_at_ms=came_at_ms))

    def _spilled(self, delivery: Delivery, error: Exception | None) -> None:
        with self.lock:
            self.outstanding.finish_aside(delivery, error)
            self._release(self._sizes.pop(delivery))
        self._report(delivery)

    def _refused(self, error: Exception) -> None:
        with self.lock:
            self.outstanding.note_failure(error)
