"""Dead letters: what was refused, kept whole with its reason, so that a person can look, mend and send it again.

Invariant: `decode(letter.encode()) == letter`: the original bytes survive, whatever they were. Replay publishes them
again as they were; what has been mended meanwhile (a setting, a missing topic) is what makes the difference.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from kafka import TopicPartition

from store.settings import Settings
from stream.connections import BrokerUnavailableError, connect_producer, reader
from stream.deliveries import DeliveryError
from stream.topics import TopicsError


class DeadLetterError(ValueError):
    """A record on `dead-letters` is not a dead letter: something else writes to the topic; find and stop it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One refused event: why, where it lay, and its bytes. `topic` is the full name; key and value may be None."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None

    def encode(self) -> bytes:
        """The JSON record, key and value in base64 (DESIGN section 4)."""
        record = _Record(
            reason=self.reason,
            detail=self.detail,
            topic=self.topic,
            partition=self.partition,
            offset=self.offset,
            key=_to_text(self.key),
            value=_to_text(self.value),
        )
        return msgspec.json.encode(record)

    def preview(self, characters: int = 60) -> str:
        """The start of the value as a person can read it."""
        text = (self.value or b"").decode(errors="replace")
        return text if len(text) <= characters else f"{text[: characters - 1]}…"


class _Record(msgspec.Struct, kw_only=True):
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: str | None
    value: str | None


def decode(value: bytes) -> DeadLetter:
    """The letter of one record. Raises `DeadLetterError`."""
    try:
        record = msgspec.json.decode(value, type=_Record)
        key, original = _to_bytes(record.key), _to_bytes(record.value)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise DeadLetterError(f"a record on dead-letters is no dead letter ({error}): find who wrote it") from None
    return DeadLetter(
        reason=record.reason,
        detail=record.detail,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=key,
        value=original,
    )


def read_letters(
    settings: Settings, *, reason: str | None = None, topic: str | None = None, limit: int | None = None
) -> Iterator[DeadLetter]:
    """The letters on the log now, partition by partition, oldest first; `topic` with or without the prefix.

    Raises `BrokerUnavailableError`, `TopicsError` when the topic does not exist, and `DeadLetterError`.
    """
    found = 0
    wanted = topic and {topic, settings.topic(topic)}
    for value in _values(settings):
        if found == limit:
            return
        letter = decode(value)
        if (reason in (None, letter.reason)) and (not wanted or letter.topic in wanted):
            found += 1
            yield letter


def count_by_reason(letters: Iterable[DeadLetter]) -> dict[str, int]:
    """How many letters there are for each reason, the most frequent first."""
    counts: dict[str, int] = {}
    for letter in letters:
        counts[letter.reason] = counts.get(letter.reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))


def replay(settings: Settings, letters: Iterable[DeadLetter]) -> int:
    """Publishes the letters' bytes again to where they were meant to go; returns how many, once all are acknowledged.

    Raises `DeliveryError` if any was not taken. The letters stay on the log; engagements count once all the same.
    """
    producer = connect_producer(settings)
    try:
        sends = [producer.send(letter.topic, value=letter.value, key=letter.key or b"") for letter in letters]
        producer.flush(timeout=30.0)
        failed = [send.exception for send in sends if send.failed()]
        if failed:
            raise DeliveryError(f"{len(failed)} of {len(sends)} letters were not taken; the first: {failed[0]}")
        return len(sends)
    finally:
        producer.close(timeout=1.0)


def _values(settings: Settings) -> Iterator[bytes]:
    """Every value on the topic up to its end as it is now."""
    name = settings.topic("dead-letters")
    with reader(settings, []) as consumer:
        partitions = consumer.partitions_for_topic(name)
        if not partitions:
            raise TopicsError(f"there is no topic {name}: run `sidestream topics create`")
        places = [TopicPartition(name, number) for number in sorted(partitions)]
        ends = consumer.end_offsets(places)
        for place in places:
            yield from _partition_values(consumer, place, ends[place], settings)


def _partition_values(consumer: Any, place: TopicPartition, end: int, settings: Settings) -> Iterator[bytes]:
    consumer.assign([place])
    consumer.seek_to_beginning(place)
    while consumer.position(place) < end:
        records = consumer.poll(timeout_ms=5000).get(place)
        if not records and consumer.position(place) < end:
            raise BrokerUnavailableError(settings.kafka.bootstrap_servers, "the broker stopped answering")
        for record in records or []:
            if record.offset < end and record.value is not None:
                yield record.value


def _to_text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _to_bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
