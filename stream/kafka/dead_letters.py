"""Dead letters: what was refused, kept whole with its reason, so that a person can look, mend and send it again.

Invariant: `decode(letter.encode()) == letter`: the original bytes survive, whatever they were. Replay publishes them
again as they were; what has been mended meanwhile (a setting, a missing topic) is what makes the difference.

What was replayed is remembered on the log: once a letter's bytes are acknowledged, a receipt follows on `dead-letters`,
a record without a value whose key names the letter's place. So a second replay sends what is new only. One that was cut
off between the two sends some again: an engagement counts once all the same, an upload says the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
from kafka import TopicPartition

from store.envelopes.reading import EventReader, event_reader
from store.headers import CAME_AT, came_at_ms, numbered
from store.log import forgotten_in
from store.records.foreign import UNREADABLE, ForeignRecords
from store.settings import Settings
from store.topics import DEAD_LETTERS, ENGAGEMENTS, FORGOTTEN_USERS, PROFILES, UPLOADS, EventTopic
from stream.kafka.connections import BrokerUnavailableError, connect_producer, reader
from stream.kafka.deliveries import DeliveryError
from stream.kafka.topics import TopicsError

RECEIPT = "replayed/"


class Place(NamedTuple):
    """Where a letter lies on `dead-letters`."""

    partition: int
    offset: int

    def receipt(self) -> bytes:
        """The key of the record that says that it was replayed."""
        return f"{RECEIPT}{self.partition}/{self.offset}".encode()


class DeadLetterError(ValueError):
    """A record on `dead-letters` is not a dead letter: something else writes to the topic; find and stop it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One refused event: why, where it lay, and its bytes. `topic` is the full name; key and value may be None.
    `place`: where the letter itself was read; `came_at_ms`: when the broker first had the event (-1: not known)."""

    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    place: Place | None = field(default=None, compare=False)
    came_at_ms: int = field(default=-1, compare=False)

    def encode(self) -> bytes:
        """The JSON record, key and value in base64 (docs/contracts.md, "Topics")."""
        record = _LetterFields(
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


class _LetterFields(msgspec.Struct, kw_only=True):
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
        record = msgspec.json.decode(value, type=_LetterFields)
        key, original = _to_bytes(record.key), _to_bytes(record.value)
    except (*UNREADABLE, binascii.Error, ValueError) as error:
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
    settings: Settings,
    *,
    reason: str | None = None,
    topic: str | None = None,
    limit: int | None = None,
    replayed: bool = True,
    foreign: ForeignRecords | None = None,
    newest: int | None = None,
) -> Iterator[DeadLetter]:
    """The letters on the log now, partition by partition, oldest first; `topic` with or without the prefix; without
    those that were `replayed` if that is False. What came of a user who was forgotten since is left out. `foreign` is
    told of records that are no letters. `newest`: only the last so many records of each partition are read.

    Raises `BrokerUnavailableError`, and `TopicsError` when the topic does not exist.
    """
    foreign = foreign or ForeignRecords()
    found = 0
    wanted = topic and {topic, settings.topic(topic)}
    receipts = set() if replayed else {each.key for each in _records(settings, newest=newest) if each.value is None}
    forgotten, reader = _forgotten(settings), event_reader(settings)
    for each in _records(settings, newest=newest):
        if found == limit:
            return
        if (each.value is None and _is_receipt(each)) or each.place.receipt() in receipts:
            continue
        try:
            letter = replace(decode(each.value or b""), place=each.place, came_at_ms=each.came_at_ms)
        except DeadLetterError as error:
            foreign.met(DEAD_LETTERS, each.place, error)
            continue
        if letter.came_at_ms <= forgotten.get(_user_of(letter, settings, reader), -1):
            continue
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

    Raises `DeliveryError` if any was not taken. The letters stay on the log, each with a receipt once it was taken.
    """
    producer = connect_producer(settings)
    try:
        again = list(letters)
        sends = [
            producer.send(letter.topic, value=letter.value, key=letter.key or b"", headers=_came(letter))
            for letter in again
        ]
        producer.flush(timeout=30.0)
        taken = [letter.place for letter, send in zip(again, sends, strict=True) if send.succeeded()]
        for place in filter(None, taken):
            producer.send(settings.topic(DEAD_LETTERS), key=place.receipt(), partition=place.partition)
        producer.flush(timeout=30.0)
        failed = [send.exception for send in sends if send.failed()]
        if failed:
            raise DeliveryError(f"{len(failed)} of {len(sends)} letters were not taken; the first: {failed[0]}")
        return len(sends)
    finally:
        producer.close(timeout=1.0)


def _is_receipt(record: _Read) -> bool:
    return record.key is not None and record.key.startswith(RECEIPT.encode())


def _came(letter: DeadLetter) -> list[tuple[str, bytes]]:
    return numbered(**{CAME_AT: letter.came_at_ms}) if letter.came_at_ms >= 0 else []


def _user_of(letter: DeadLetter, settings: Settings, reader: EventReader) -> str:
    """Of whom a letter is: as its event says, or its key; nobody for an item's."""
    if letter.topic == settings.topic(UPLOADS):
        return ""
    topic: EventTopic = PROFILES if letter.topic == settings.topic(PROFILES) else ENGAGEMENTS
    return reader.user_in(topic, letter.value or b"") or (letter.key or b"").decode("utf-8", "replace")


def _forgotten(settings: Settings) -> dict[str, int]:
    """user → when the user was forgotten."""
    try:
        found = forgotten_in(_records(settings, FORGOTTEN_USERS))
    except TopicsError:  # made by a release that kept none
        return {}
    return {user_id: one.forgotten_at_ms for user_id, one in found.items()}


class _Read(NamedTuple):
    place: Place
    key: bytes | None
    value: bytes | None
    came_at_ms: int


def _records(settings: Settings, topic: str = DEAD_LETTERS, newest: int | None = None) -> Iterator[_Read]:
    """Every record on the topic up to its end as it is now, or the `newest` offsets of each partition."""
    name = settings.topic(topic)
    with reader(settings, []) as consumer:
        partitions = consumer.partitions_for_topic(name)
        if not partitions:
            raise TopicsError(f"there is no topic {name}: run `sidestream topics create`")
        places = [TopicPartition(name, number) for number in sorted(partitions)]
        ends = consumer.end_offsets(places)
        begins = consumer.beginning_offsets(places)
        for place in places:
            begin = begins[place] if newest is None else max(begins[place], ends[place] - newest)
            yield from _partition_records(consumer, place, begin, ends[place], settings)


def _partition_records(
    consumer: Any, place: TopicPartition, begin: int, end: int, settings: Settings
) -> Iterator[_Read]:
    consumer.assign([place])
    consumer.seek(place, begin)
    while consumer.position(place) < end:
        records = consumer.poll(timeout_ms=5000).get(place)
        if not records and consumer.position(place) < end:
            raise BrokerUnavailableError(settings.kafka.bootstrap_servers, "the broker stopped answering")
        for record in records or []:
            if record.offset < end:
                at = came_at_ms(record.timestamp, record.headers)
                yield _Read(Place(place.partition, record.offset), record.key, record.value, at)


def _to_text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _to_bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
