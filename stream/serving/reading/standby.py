"""The standby: copies of the rows of users whose partitions are at work elsewhere.

An owner that is killed, paused or cut off answers nobody until its session is over, the group has given its partitions
to another, and that one has restored their rows. Meanwhile its users are answered from what it has published. So every
worker that has peers follows `user-states`, and keeps the rows on its own disk as they come: encoded, one is decoded
when somebody is answered from it. Those of its own partitions, too: they may move at any time. Copies decide nothing: a
partition that comes here is restored as ever (docs/exactly-once.md).

Invariants: of two copies the one further in the log is kept, whoever wrote it last; memory does not grow with users;
nobody is answered from a row of a life that was forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError as ReadingError
from kafka.errors import KafkaError
from rocksdict import WriteBatch

from store.files.derived_store import DerivedStore, derived_options
from store.histories import UserRow
from store.keys import partition_of
from store.log import forgotten_in
from store.records.foreign import UNREADABLE, ForeignRecordError, ForeignRecords, Moment, Offset, held_in, owned_id_in
from store.reporting.outages import Outage
from store.settings import Settings
from store.topics import USER_STATES
from stream.kafka.connections import BrokerUnavailableError
from stream.kafka.state_topics import POSITION_KEY, consumer_options, generation_of
from stream.kafka.topics import describe_topics

log = logging.getLogger(__name__)

FRESH_S = 120.0
"""A copy speaks for its user for so long after the newest record of its partition, which an owner writes once a minute
at the least (`BEAT_S`): then nobody has the partition, and nobody knows what came since."""
GATHER_S = 0.2
CHUNK = 50
"""Records that are taken in one turn of the event loop: some milliseconds."""
SHARE = 0.2
"""Of the event loop's time, at most: a new worker has all users' rows before it."""
RETRY_S = 2.0
_END = b"\x00end-"


class StandbyError(RuntimeError):
    """The copies on disk cannot be used: stop the process that holds the folder, or delete the folder (the copies come
    back from the state topic)."""


class Copy(NamedTuple):
    """What is known of a user who is at home elsewhere. `row`: None for one who has none. `is_fresh`: it speaks for the
    user, as of what its owner published last."""

    row: UserRow | None
    is_fresh: bool


class _Head(msgspec.Struct, array_like=True):
    """Of an encoded `UserRow` as much as tells which of two is further."""

    offset: Offset = -1
    entries: msgspec.Raw = msgspec.Raw()
    seen: msgspec.Raw = msgspec.Raw()
    attributes: msgspec.Raw = msgspec.Raw()
    profiled_at: Moment = 0.0
    life: Offset = -1

    def fault(self) -> str:
        return ""

    @property
    def place(self) -> tuple[int, int, float]:
        return self.life, self.offset, self.profiled_at


class _End(msgspec.Struct, array_like=True):
    """How far a partition was read: the next offset, in the topic of this id, and the time of the newest record (epoch
    seconds)."""

    offset: int
    topic_id: str
    at_s: float = 0.0


_heads = msgspec.msgpack.Decoder(_Head)
_rows = msgspec.msgpack.Decoder(UserRow)


class Standby:
    """The copies of one worker. `unfollowed`: the partitions of which it needs none."""

    def __init__(
        self, settings: Settings, folder: Path, unfollowed: Callable[[], Collection[int]], foreign: ForeignRecords
    ) -> None:
        self._settings = settings
        self._unfollowed = unfollowed
        self._foreign = foreign
        self._db = DerivedStore(folder, derived_options, _END, StandbyError)
        self._topic_id = ""
        self._lives: dict[str, int] = {}
        self._newest_s = {number: self._end(number).at_s for number in range(settings.kafka.partitions)}

    def copy(self, user_id: str) -> Copy:
        """What the owner of a user has published of it last."""
        is_fresh = time.time() - self._newest_s[partition_of(user_id, self._settings.kafka.partitions)] <= FRESH_S
        value = self._db.get(user_id.encode())
        try:
            row = None if value is None else _rows.decode(value)
        except UNREADABLE:
            return Copy(None, is_fresh=False)
        if row is not None and row.life < self._lives.get(user_id, -1):
            row = None
        return Copy(row, is_fresh)

    def on_forgotten(self, record: Any) -> None:
        """Handles a record of `forgotten-users`: copies of a life before go."""
        for user_id, one in forgotten_in([record]).items():
            self._lives[user_id] = max(one.offset, self._lives.get(user_id, -1))
            value = self._db.get(user_id.encode())
            if value is not None and _heads.decode(value).life < one.offset:
                batch = WriteBatch(raw_mode=True)
                batch.delete(user_id.encode())
                self._db.write(batch)

    async def run(self, after: asyncio.Event) -> None:
        """Follows the topic until cancelled, from when `after` is set: what every scorer needs comes first. Whatever
        keeps it from that costs copies only: they are answered from as long as they are fresh."""
        stuck = Outage(
            log, "copies of users' rows are not followed", "answers for users of absent workers are degraded"
        )
        await after.wait()
        while True:
            try:
                await self._follow(stuck)
            except (BrokerUnavailableError, KafkaError, ReadingError, StandbyError) as error:
                stuck.met(error)
                await asyncio.sleep(RETRY_S)

    async def _follow(self, stuck: Outage) -> None:
        self._topic_id = await self._identify()
        topic, count = self._settings.topic(USER_STATES), self._settings.kafka.partitions
        places = [TopicPartition(topic, number) for number in range(count)]
        consumer = AIOKafkaConsumer(**consumer_options(self._settings))
        await consumer.start()
        try:
            consumer.assign(places)
            for place in places:
                end = self._end(place.partition)  # in another topic than before what lies here is further, or goes
                consumer.seek(place, end.offset if end.topic_id == self._topic_id else 0)
            while True:
                await asyncio.sleep(GATHER_S)
                numbers = self._unfollowed()
                left_out = {place for place in places if place.partition in numbers}
                consumer.pause(*left_out)
                consumer.resume(*(consumer.paused() - left_out))
                if len(left_out) < count:
                    await self._read(consumer)
                stuck.over()
        finally:
            await consumer.stop()

    async def _identify(self) -> str:
        states = await asyncio.to_thread(describe_topics, self._settings)
        return next(state.topic_id for state in states if state.name == USER_STATES)

    def _end(self, number: int) -> _End:
        stored = self._db.get(_END + str(number).encode())
        return msgspec.msgpack.decode(stored, type=_End) if stored else _End(0, "")

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while found := await consumer.getmany(timeout_ms=0, max_records=CHUNK):
            began = time.thread_time()
            for place, records in found.items():
                self.take(place.partition, records)
            await asyncio.sleep((time.thread_time() - began) * (1.0 / SHARE - 1.0))

    def take(self, number: int, records: Sequence[Any]) -> None:
        """Keeps what is new in records (aiokafka's) of one partition, in the order of its log."""
        rows: dict[bytes, bytes | None] = {}
        for record in records:
            with self._passing_over(record):
                generation_of(record)
                self._newest_s[number] = max(self._newest_s[number], min(time.time(), record.timestamp / 1000.0))
                if record.key != POSITION_KEY:
                    user = owned_id_in(record.key, number, self._settings.kafka.partitions).encode()
                    known = rows[user] if user in rows else self._db.get(user)
                    if record.value is None or _is_further(record.value, known):
                        rows[user] = record.value
        self._write(rows, number, records[-1].offset + 1)

    def _write(self, rows: dict[bytes, bytes | None], number: int, end: int) -> None:
        batch = WriteBatch(raw_mode=True)
        for user, value in rows.items():
            if value is None:
                batch.delete(user)
            else:
                batch.put(user, value)
        batch.put(
            _END + str(number).encode(), msgspec.msgpack.encode(_End(end, self._topic_id, self._newest_s[number]))
        )
        self._db.write(batch)

    @contextmanager
    def _passing_over(self, record: Any) -> Iterator[None]:
        try:
            yield
        except ForeignRecordError as error:
            self._foreign.met(USER_STATES, record, error)

    def close(self) -> None:
        self._db.close()


def _is_further(value: bytes, known: bytes | None) -> bool:
    """Whether a copy is at least as far as the known one. Raises `ForeignRecordError` if it is none."""
    head = held_in(value, _heads.decode, "user's row")
    return known is None or head.place >= _heads.decode(known).place
