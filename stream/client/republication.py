"""Republication: asking every owner to publish all of its rows again, and following it on the state topics.

A request is a record with key `republish` on `checkpoints`, which every worker reads: `{"request", "requested_at"}`. An
owner says behind its last row that it is done, in a header of its position (`stream.kafka.state_topics.REPUBLISHED`).

Invariant: what counts as done is on the state topic itself, so it holds whoever has published it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition

from store.records.republish_request import REPUBLISH_KEY, RepublishRequest
from store.settings import Settings
from store.topics import CHECKPOINTS, ITEM_STATES, UPLOAD_STATES, USER_STATES
from stream.client.publisher import Publisher
from stream.kafka.connections import reader
from stream.kafka.state_topics import POSITION_KEY, REPUBLISHED
from stream.kafka.topics import TopicsError

STATE_TOPICS = (USER_STATES, ITEM_STATES, UPLOAD_STATES)
ASK_AGAIN_S = 20.0
"""Partitions that have said nothing may have moved, or been on their way: whoever has them by now is asked again."""


class OwnersSilentError(TimeoutError):
    """Not every owner has published its rows again: the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Republished:
    """A partition of which every row is on its state topic again."""

    topic: str
    partition: int
    rows: int
    took_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `ended`, in the order of their ends, of so many `partitions`; records read from all of them."""

    ended: list[Republished]
    partitions: int
    records: int

    @property
    def complete(self) -> bool:
        return len(self.ended) == self.partitions


class Republishing:
    """One request, and what its owners have done so far."""

    def __init__(self, settings: Settings) -> None:
        self.request = RepublishRequest(request=f"republish-{uuid.uuid4().hex[:12]}", requested_at=time.time())
        self._settings = settings
        self._ended: dict[TopicPartition, Republished] = {}
        self._records = 0

    def follow(self, timeout_s: float) -> Iterator[Progress]:
        """Asks, and tells how far it is about once a second, up to the end.

        Raises `OwnersSilentError` if nobody publishes anything within `ASK_AGAIN_S`, or not all of it within
        `timeout_s`, and `TopicsError` if a state topic does not exist."""
        with reader(self._settings, [], fetch_max_wait_ms=200) as consumer:
            places = self._places(consumer)
            consumer.assign(places)
            for place, end in consumer.end_offsets(places).items():
                consumer.seek(place, end)
            yield from self._follow(consumer, places, timeout_s)

    def _places(self, consumer: KafkaConsumer) -> list[TopicPartition]:
        names = [self._settings.topic(name) for name in STATE_TOPICS]
        found = {name: consumer.partitions_for_topic(name) or () for name in names}
        if missing := [name for name, numbers in found.items() if not numbers]:
            raise TopicsError(f"topics are missing ({', '.join(missing)}): run `sidestream topics create`")
        return [TopicPartition(name, number) for name, numbers in found.items() for number in sorted(numbers)]

    def _follow(self, consumer: KafkaConsumer, places: list[TopicPartition], timeout_s: float) -> Iterator[Progress]:
        began = asked = time.monotonic()
        self._ask()
        while len(self._ended) < len(places):
            for records in consumer.poll(timeout_ms=1000).values():
                for record in records:
                    self._read(record)
            yield Progress(list(self._ended.values()), len(places), self._records)
            now = time.monotonic()
            if now - began > (timeout_s if self._records else min(timeout_s, ASK_AGAIN_S)):
                raise OwnersSilentError(self._silence(places, now - began))
            if now - asked > ASK_AGAIN_S:
                asked = now
                self._ask()

    def _ask(self) -> None:
        with Publisher(settings=self._settings, framing=None) as publisher:
            publisher.send(CHECKPOINTS, REPUBLISH_KEY.decode(), msgspec.json.encode(self.request)).result()

    def _read(self, record: Any) -> None:
        said = dict(record.headers or ()).get(REPUBLISHED)
        if record.key != POSITION_KEY:
            self._records += 1
        elif said is not None:
            request, _, rows = said.decode().partition(" ")
            if request == self.request.request:
                place = TopicPartition(record.topic, record.partition)
                took_s = round(time.time() - self.request.requested_at, 3)
                self._ended.setdefault(place, Republished(record.topic, record.partition, int(rows), took_s))

    def _silence(self, places: list[TopicPartition], waited_s: float) -> str:
        missing = [f"{place.topic}-{place.partition}" for place in places if place not in self._ended]
        if not self._records and not self._ended:
            return (
                f"no worker published anything within {waited_s:.0f} s: start workers on the disks that have the rows "
                "(`sidestream worker`), or look at their logs; what was begun is carried on when they start again"
            )
        return (
            f"after {waited_s:.0f} s {len(missing)} of {len(places)} partitions have not said that they are done "
            f"({', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}): workers go on by themselves; wait longer "
            "with --timeout, or look at the logs of those that own them"
        )
