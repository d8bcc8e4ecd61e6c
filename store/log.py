"""The log: reading ranges of topics, outside any consumer group, into what the trainer and the CLI need.

Everything is a function of the log, so whoever reads the same offsets gets the same answer. A range is read with manual
assignment from a position to an end that was fixed beforehand; nothing is committed.

Invariant: `read` yields every record of [begin, end) that the broker still has, in the order of each partition, and
stops there even when compaction or retention removed the last ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from store.envelopes.reading import EventReader
from store.events import Engagement
from store.headers import came_at_ms
from store.items import ItemCard, card_in
from store.records.card_order import CardOrder
from store.records.foreign import ForeignRecordError, ForeignRecords, held_in, is_offset, is_time_ms
from store.records.log_error import LogError as LogError
from store.security import client_options
from store.settings import Kafka

Offsets = dict[int, int]
"""Partition → offset."""


class LogRecord(NamedTuple):
    """One record as the broker has it; the timestamp is in epoch milliseconds."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def came_at_ms(self) -> int:
        """When the broker first had what the record holds, which may have been moved or sent again."""
        return came_at_ms(self.timestamp_ms, self.headers)


@dataclass(frozen=True, slots=True)
class LoggedEngagement:
    """An engagement and its place in the log."""

    event: Engagement
    partition: int
    offset: int
    timestamp_ms: int


Progress = Callable[[int, int], None]
"""Called with (records passed, records in all)."""


class Log:
    """A reader of the log. One connection, opened at the first use; close it, or use it in a `with` block. `foreign` is
    told of what whoever reads passes over."""

    def __init__(self, kafka: Kafka, *, timeout_s: float = 30.0, foreign: ForeignRecords | None = None) -> None:
        self.foreign = foreign or ForeignRecords()
        self._kafka = kafka
        self._timeout_s = timeout_s
        self._opened: KafkaConsumer | None = None

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic; LogError when there is no such topic."""
        found = self._ask(lambda consumer: consumer.partitions_for_topic(topic))
        if not found:
            raise LogError(f"no topic {topic} at {self._kafka.bootstrap_servers}: run `sidestream topics create`")
        return sorted(found)

    def begins(self, topic: str) -> Offsets:
        """The oldest offset that each partition still has."""
        return self._offsets(topic, lambda consumer, parts: consumer.beginning_offsets(parts))

    def ends(self, topic: str) -> Offsets:
        """The offset after the newest record of each partition."""
        return self._offsets(topic, lambda consumer, parts: consumer.end_offsets(parts))

    def topic_id(self, topic: str) -> str:
        """The id that the broker gave the topic: one that was created anew has another. Empty where it gives none."""

        def ask(consumer: KafkaConsumer) -> str:
            consumer.topics()  # what it knew of the topics may be minutes old
            found = str(consumer._cluster.topic_id(topic) or "")
            return "" if set(found) <= {"0", "-"} else found

        answer: str = self._ask(ask)
        return answer

    def read(
        self, topic: str, begin: Mapping[int, int], end: Mapping[int, int], progress: Progress | None = None
    ) -> Iterator[LogRecord]:
        """All records of [begin, end), partition by partition as they arrive."""
        first = self.begins(topic)
        position = {p: max(begin.get(p, 0), first[p]) for p in end if p in first}
        left = {p: end[p] for p in position if position[p] < end[p]}
        total, passed = sum(left[p] - position[p] for p in left), 0
        consumer = self._assign(topic, {p: position[p] for p in left})
        quiet_since = time.monotonic()
        while left:
            batches = self._ask(lambda consumer: consumer.poll(timeout_ms=500, max_records=5000))
            for part, records in batches.items():
                if part.partition in left:
                    # Not what lies before: the log of a topic that was created anew is read from its begin again.
                    wanted = range(position[part.partition], left[part.partition])
                    yield from (_record(record) for record in records if record.offset in wanted)
            for partition in list(left):
                reached = consumer.position(TopicPartition(topic, partition)) or 0  # None while it looks for the begin
                at = max(position[partition], min(reached, left[partition]))
                passed += at - position[partition]
                position[partition] = at
                if at >= left[partition]:
                    del left[partition]
                    consumer.pause(TopicPartition(topic, partition))
            if progress is not None:
                progress(passed, total)
            quiet_since = time.monotonic() if batches else quiet_since
            if left and time.monotonic() - quiet_since > self._timeout_s:
                raise LogError(f"{topic}: nothing came for {self._timeout_s:.0f} s: check that the broker is well")

    def read_all(self, topic: str, progress: Progress | None = None) -> Iterator[LogRecord]:
        """Everything that the topic holds now."""
        return self.read(topic, {}, self.ends(topic), progress)

    def _assign(self, topic: str, positions: Mapping[int, int]) -> KafkaConsumer:
        def assign(consumer: KafkaConsumer) -> KafkaConsumer:
            parts = [TopicPartition(topic, partition) for partition in positions]
            consumer.assign(parts)
            consumer.resume(*parts)  # an earlier read paused them at its end
            for part in parts:
                consumer.seek(part, positions[part.partition])
            return consumer

        return self._ask(assign)

    def _offsets(self, topic: str, ask: Callable[[KafkaConsumer, list[TopicPartition]], Any]) -> Offsets:
        parts = [TopicPartition(topic, partition) for partition in self.partitions(topic)]
        found: dict[TopicPartition, int] = self._ask(lambda consumer: ask(consumer, parts))
        return {part.partition: offset for part, offset in found.items()}

    def _ask(self, question: Callable[[KafkaConsumer], Any]) -> Any:
        try:
            if self._opened is None:
                self._opened = KafkaConsumer(
                    group_id=None,
                    enable_auto_commit=False,
                    auto_offset_reset="earliest",  # what was dropped in mid-read is passed over, what is left is not
                    fetch_max_wait_ms=100,
                    max_partition_fetch_bytes=8 << 20,
                    **client_options(self._kafka),
                )
            return question(self._opened)
        except KafkaError as error:
            self.close()
            raise LogError(f"cannot read the log at {self._kafka.bootstrap_servers}: {error}") from error


Value = TypeVar("Value")


def _record(read: Any) -> LogRecord:
    """One of kafka-python's records."""
    return LogRecord(read.partition, read.offset, read.timestamp, read.key, read.value, read.headers)


def latest(records: Iterable[LogRecord]) -> dict[str, LogRecord]:
    """The newest record of each key of a compact topic; a tombstone removes the key."""
    kept: dict[str, LogRecord] = {}
    for record in records:
        if record.key is None:
            continue
        key = record.key.decode("utf-8", "replace")
        if record.value is None:
            kept.pop(key, None)
        else:
            kept[key] = record
    return kept


PassOver = Callable[[LogRecord, ForeignRecordError], None]
"""Told of a record that is passed over, and why."""


def _in_silence(_: LogRecord, __: ForeignRecordError) -> None:
    pass


def cards(
    records: Iterable[LogRecord],
    pass_over: PassOver = _in_silence,
    kept: Callable[[ItemCard], ItemCard] = lambda card: card,
) -> dict[str, ItemCard]:
    """item_id → card, from records of `semantic-ids`, of each item the one that counts; `kept`: what to keep of it."""
    found: dict[str, ItemCard] = {}
    order = CardOrder()
    for record in records:
        if not record.key:
            pass_over(record, ForeignRecordError("no card: it has no key"))
            continue
        item_id = record.key.decode("utf-8", "replace")
        known = found[item_id].upload_offset if item_id in found else None
        if record.value is None:
            if order.takes_down(item_id, record.headers, known):
                found.pop(item_id, None)
            continue
        try:
            card = card_in(record.value, item_id)
        except ForeignRecordError as error:
            pass_over(record, error)
            continue
        if order.admits(item_id, card.upload_offset, known):
            found[item_id] = kept(card)
    return found


class Forgotten(msgspec.Struct, kw_only=True, frozen=True):
    """A user was forgotten: a record on `forgotten-users`. `offset`: of the request in `profiles`; `forgotten_at_ms`:
    when the broker first had it. What came before is not to be used, wherever it is found.

    Each request has a key of its own: so none is superseded, and compaction ends none. They are kept for ever, for as
    long may whatever they are about be kept somewhere.
    """

    user_id: str
    offset: int
    forgotten_at_ms: int

    def key(self) -> bytes:
        return f"{self.user_id}\0{self.offset}".encode()

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    def fault(self) -> str:
        """Why no user's owner can have written this; empty if one can."""
        return "" if is_offset(self.offset) and is_time_ms(self.forgotten_at_ms) else "a time that has not come"


_forgotten = msgspec.json.Decoder(Forgotten)


def forgotten_in(records: Iterable[Any], pass_over: PassOver = _in_silence) -> dict[str, Forgotten]:
    """user_id → the newest request to forget the user, from records of `forgotten-users`."""
    found: dict[str, Forgotten] = {}
    for record in records:
        try:
            one = held_in(record.value or b"", _forgotten.decode, "request to forget a user")
            if record.key != one.key():
                raise ForeignRecordError("no request to forget a user: its key is another's")
        except ForeignRecordError as error:
            pass_over(record, error)
            continue
        known = found.get(one.user_id)
        if known is None or one.offset > known.offset:
            found[one.user_id] = one
    return found


def engagements(
    records: Iterable[LogRecord],
    *,
    now: float,
    reader: EventReader = EventReader(),
    forget: Mapping[str, int] | None = None,
) -> Iterator[LoggedEngagement]:
    """All accepted engagements of single and framed records, without those from before their user was forgotten."""
    forget = forget or {}
    for record in records:
        if record.value is None:
            continue
        for event in reader.engagements(record.value, now=now).events:
            if not forget or record.came_at_ms > forget.get(event.user_id, -1):
                yield LoggedEngagement(event, record.partition, record.offset, record.timestamp_ms)


def newest_first_chunks(
    begin: Mapping[int, int], end: Mapping[int, int], records: int
) -> Iterator[tuple[Offsets, Offsets]]:
    """Ranges of about `records` records that go back from `end` to `begin`, all partitions abreast."""
    at = dict(end)
    while any(at[p] > begin.get(p, 0) for p in at):
        open_parts: Sequence[int] = [p for p in at if at[p] > begin.get(p, 0)]
        stride = max(1, records // len(open_parts))
        lower = {p: max(begin.get(p, 0), at[p] - stride) if p in open_parts else at[p] for p in at}
        yield lower, dict(at)
        at = lower
