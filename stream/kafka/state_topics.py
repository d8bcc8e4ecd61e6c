"""States: how rows travel to their state topic and come back from it.

`item-states` and `user-states` hold rows by key, and under `POSITION_KEY` the position of each partition, in the same
partition as the rows. The position is sent after the rows that it vouches for. Every record carries the generation of
the group in its headers; but what decides between two rows is how far in the log they are: rows are functions of a
prefix of the log, so the further one includes the other, whoever wrote it last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from store.headers import CAME_AT, TRACEPARENT, bytes_in, number_in
from store.records.foreign import ForeignRecordError, held_in
from store.rows import POSITION_KEY as POSITION_KEY
from store.rows import Position
from store.security import async_client_security
from store.settings import Settings
from stream.kafka.records import ReadHole, Record

GENERATION = "generation"
CAUSED_AT = "caused_at_ms"
GENERATIONS_END = 1 << 31
EXPIRED = "expired_before_s"
"""Of a null value: the row has expired, as far as it was last touched before this time (epoch seconds)."""
REPUBLISHED = "republished"
"""Of a position behind which every row of the partition was published again: the request that it answers, and how many
rows there were."""

METADATA_AGE_MS = 5000
"""A consumer asks so often who leads its partitions. aiokafka asks at once when a fetch finds that a leader has gone,
but not when it looks for the first offset of a partition of which nothing is committed: by its own five minutes, such a
partition would stay unread so long after a broker was away."""


class Announcement(msgspec.Struct, array_like=True):
    """A position as it is published: with the address of the worker that owns the partition. `partition`: of which it
    is (-1: of a release that did not say)."""

    position: Position
    url: str = ""
    partition: int = -1

    def fault(self) -> str:
        """Why no owner can have published this; empty if one can."""
        return self.position.fault()


_announcements = msgspec.msgpack.Decoder(Announcement)


def encode_announcement(announcement: Announcement) -> bytes:
    return msgspec.msgpack.encode(announcement)


def decode_announcement(value: bytes) -> Announcement:
    return _announcements.decode(value)


def announcement_in(value: bytes | None, partition: int) -> Announcement:
    """What a record under `POSITION_KEY` of this partition holds. Raises `ForeignRecordError`."""
    announcement = held_in(value or b"", decode_announcement, "position")
    if announcement.partition not in (-1, partition):
        raise ForeignRecordError(f"the position of partition {announcement.partition}")
    return announcement


def generation_of(record: Any) -> int:
    """The generation of the group in which a state record (aiokafka's) was written. Raises `ForeignRecordError` where
    it does not say: every owner does."""
    generation = number_in(record.headers, GENERATION, -1)
    if not 0 <= generation < GENERATIONS_END:
        raise ForeignRecordError(f"it has no header {GENERATION!r}, which every owner gives")
    return generation


def ended_before_s(record: Any) -> int:
    """Before which time what touched a row has gone, where a state record (aiokafka's) ends one; -1 for any other."""
    return number_in(record.headers, EXPIRED, -1) if record.value is None else -1


def consumer_options(settings: Settings) -> dict[str, object]:
    """Options of a consumer that reads whole partitions, in no group."""
    return {
        "bootstrap_servers": settings.kafka.bootstrap_servers,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": 250,
        "metadata_max_age_ms": METADATA_AGE_MS,
        "max_partition_fetch_bytes": 4 << 20,
        **async_client_security(settings.kafka),
    }


async def read_partition(settings: Settings, topic: str, partition: int, begin: int) -> AsyncGenerator[Any, None]:
    """Every record (aiokafka's) of one partition from `begin` to the end as of the call; `topic` is the full name."""
    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(**consumer_options(settings))
    await consumer.start()
    try:
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        first = (await consumer.beginning_offsets([where]))[where]
        consumer.seek(where, max(begin, first))
        while await consumer.position(where) < end:
            for records in (await consumer.getmany(timeout_ms=500, max_records=5000)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


def hole_reader(settings: Settings) -> ReadHole:
    """Reads what an agent was not given, as records that have nobody to acknowledge to."""

    async def read(topic: str, partition: int, begin: int) -> AsyncGenerator[Record, None]:
        async with aclosing(read_partition(settings, topic, partition, begin)) as records:
            async for record in records:
                came, trace = number_in(record.headers, CAME_AT, -1), bytes_in(record.headers, TRACEPARENT)
                at = (topic, partition, record.offset, record.timestamp)
                yield Record(*at, record.key, record.value, _nobody, came, trace)

    return read


def _nobody() -> None:
    pass
