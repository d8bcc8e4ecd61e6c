"""Published rows: what one partition has on its state topic, kept in step with what is here.

Records of a state topic may be written by others, too: the owner before this one, and a worker that has lost the
partition and does not know it yet. So nothing rests on who wrote last:

- Of two copies of a row the further one counts, wherever it lies (`restore`).
- Compaction keeps the last copy, so the last one must not be the older one: the owner publishes its own again, whether
  it finds the older one when it starts or while it works (`publish`).
- What is no owner's (`store.records.foreign`) is passed over; compaction may keep it in a row's place, so that row is
  published again, too.
- The end of a row that has expired says up to which time it holds; a copy that was touched later counts, whoever wrote
  either last (`stream.ingest.growth.expiry`).
- `position.state_offset` moves over what was read, and over own records that landed where the next one was expected;
  never over what somebody else may have written between two of these.

Invariant: a start that reads on from `position.state_offset` knows the furthest copy of each row that ever was on the
topic, as long as compaction has left it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

from store.records.foreign import ForeignRecordError, ForeignRecords, owned_id_in
from store.rows import Position, RowStore
from store.settings import Settings
from stream.ingest.growth.expiry import Expiry
from stream.kafka.emitter import Emitter
from stream.kafka.emitter_lane import Header
from stream.kafka.state_topics import (
    POSITION_KEY,
    announcement_in,
    ended_before_s,
    generation_of,
    read_partition,
)

Publication = tuple[bytes, bytes | None, Sequence[Header]]

CHUNK_BYTES = 240_000
"""Rows that are sent in one batch, and so land together: what the emitter's batches hold, less than that."""
RECORD_BYTES = 100
"""What a record needs beside its key and value, at most."""
BEAT_S = 60.0
"""An owner publishes at least its position as often: before compaction may have dropped what somebody else has written
over (`min.compaction.lag.ms` of the state topics), it has been written again."""
RESTORE_CHUNK = 1000
"""Rows that are written at once while a partition is restored."""


class LostPartitionError(RuntimeError):
    """Another worker owns this partition by now: this one was paused or cut off for longer than its session. What it
    still had to do is done by the other; it waits to be given partitions again. Nothing needs to be done."""


class Comparison(NamedTuple):
    """How a published row stands to the own one. `joined`: the row that results where the published one knows more,
    else None. `outdated`: the own one knows more."""

    joined: Any
    outdated: bool


class Side(Protocol):
    """The rows of one partition, as `PublishedRows` needs them."""

    @property
    def rows(self) -> RowStore[Any]: ...

    def compare(self, key: str, value: bytes | None) -> Comparison:
        """Compares a record of the state topic (None: the row went) with the own row; changes nothing. Raises
        `ForeignRecordError` if it holds no row."""

    def meet(self, position: Position) -> None:
        """Takes over what a published position knows more."""

    def take_over(self, key: str, row: Any) -> None:
        """Stages a row that was joined while restoring (None: it went)."""

    @property
    def expiry(self) -> Expiry | None:
        """What has expired; None if nothing ever does."""

    def end(self, key: str) -> None:
        """Stages that a row goes which has expired, as the topic says while restoring."""

    def write_restored(self) -> None:
        """Writes what `take_over` staged, and the position, as one batch."""


class PublishedRows:
    """The state topic of one partition. `publish` is called by one task at a time."""

    def __init__(
        self, settings: Settings, emitter: Emitter, topic: str, number: int, side: Side, foreign: ForeignRecords
    ) -> None:
        self._settings = settings
        self._emitter = emitter
        self._topic = topic
        self._number = number
        self._side = side
        self._foreign = foreign
        self._end = 0
        self._further: dict[str, bytes | None] = {}
        self._ended: dict[str, int] = {}
        self._late: dict[str, int] = {}

    async def restore(self) -> None:
        """Reads the topic from where the rows know it to its end. Rows behind which an older copy lay are staged again:
        until they are published, the next start reads the same records again."""
        position = self._side.rows.position
        self._end = position.state_offset
        stale: dict[str, int] = {}
        count = 0
        async for record in self._records():
            with self._passing_over(record, stale):
                self._restore_record(record, stale)
            position.state_offset = next(iter(stale.values()), self._end)
            count += 1
            if count % RESTORE_CHUNK == 0:
                self._side.write_restored()
                await asyncio.sleep(0)
        self._side.write_restored()
        self._ended = {}
        for key in stale:
            self._stage_again(key)

    @contextmanager
    def _passing_over(self, record: Any, stale: dict[str, int]) -> Iterator[None]:
        """Tells of a record that is no owner's. The row of its key, if there is one, is `stale` on the topic."""
        try:
            yield
        except ForeignRecordError as error:
            self._foreign.met(self._topic, record, error)
            with suppress(ForeignRecordError):
                stale.setdefault(self._key_of(record), record.offset)

    def _key_of(self, record: Any) -> str:
        return owned_id_in(record.key, self._number, self._settings.kafka.partitions)

    def _restore_record(self, record: Any, stale: dict[str, int]) -> None:
        generation_of(record)
        if record.key == POSITION_KEY:
            self._side.meet(announcement_in(record.value, self._number).position)
        else:
            key = self._key_of(record)
            before_s = ended_before_s(record)
            if before_s >= 0 and self._side.expiry is not None:
                self._restore_end(key, before_s, record.offset, stale)
                return
            joined, outdated = self._side.compare(key, record.value)
            if joined is not None and key in self._ended and joined.touched_s < self._ended[key]:
                self._late[key] = self._ended[key]  # written late, after the end of the row
                return
            if joined is not None or record.value is None:
                self._side.take_over(key, joined)
            if outdated:
                stale.setdefault(key, record.offset)
            else:
                stale.pop(key, None)

    def _restore_end(self, key: str, before_s: int, offset: int, stale: dict[str, int]) -> None:
        """A row expired that was last touched before a time: unless the own one was touched later, for it counts."""
        row = self._side.rows.get(key)
        if row is not None and row.touched_s >= before_s:
            stale.setdefault(key, offset)
            return
        self._ended[key] = before_s
        stale.pop(key, None)
        if row is not None:
            self._side.end(key)

    def ends(self) -> dict[str, int]:
        """What has expired and is to be published as such: key → the time before which what touched it has gone. Copies
        that somebody wrote late are among them."""
        if self._side.expiry is None:
            return {}
        late, self._late = self._late, {}
        self._side.expiry.look()
        return {**late, **self._side.expiry.take()}

    async def publish(self, rows: Iterable[Publication], generation: int) -> bool:
        """Sends rows, in order, and waits until they are safe. Returns whether somebody else has written in between:
        then publish again, so that the own rows, and the own position, are the last.

        Raises `LostPartitionError` if that was done in a later generation than `generation`."""
        expected = True
        others = False
        for chunk in _chunks(rows):
            begin = await self._emitter.send_rows(self._topic, self._number, chunk)
            if begin == self._end:
                self._end += len(chunk)
                continue
            expected = False
            # A record before the end is one of which the broker no longer knows where it lies. The next one will tell.
            if begin > self._end:
                others = True
                await self._read_others(generation)
        if expected:
            self._settle()
        return others

    def _settle(self) -> None:
        """Everything up to the end is known here, unless somebody was further with a row than this worker still is."""
        self._further = {key: value for key, value in self._further.items() if self._is_further(key, value)}
        if not self._further:
            self._side.rows.position.state_offset = self._end

    async def _read_others(self, generation: int) -> None:
        """Reads from where the next record was expected to the end. Own records are among them, and say nothing new."""
        stale: dict[str, int] = {}
        async for record in self._records():
            with self._passing_over(record, stale):
                self._read_other(record, generation)
        for key in stale:
            self._stage_again(key)

    def _read_other(self, record: Any, generation: int) -> None:
        written_in = generation_of(record)
        if written_in > generation:
            raise LostPartitionError(
                f"{self._topic}-{self._number} has a record of generation {written_in} at {record.offset}, this "
                f"worker is of generation {generation}: the partition has another owner"
            )
        if record.key != POSITION_KEY:
            self._meet_other(self._key_of(record), record.value, written_in < generation)

    def _meet_other(self, key: str, value: bytes | None, of_former_owner: bool) -> None:
        """The own row is not changed at work: what another has read further, this worker is going to read."""
        outdated = self._side.compare(key, value).outdated
        if self._is_further(key, value):
            self._further[key] = value
        if outdated or (value is None and of_former_owner):
            self._stage_again(key)

    def _is_further(self, key: str, value: bytes | None) -> bool:
        """Whether a copy knows more than is known here; not one of a row that has expired here since."""
        joined, expiry = self._side.compare(key, value).joined, self._side.expiry
        if joined is None or expiry is None or self._side.rows.get(key) is not None:
            return joined is not None
        if is_over := expiry.is_over(key, joined.touched_s):
            self._late[key] = joined.touched_s + 1
        return not is_over

    def _stage_again(self, key: str) -> None:
        rows = self._side.rows
        if not rows.is_staged(key) and (row := rows.get(key)) is not None:
            rows.stage(key, row)

    async def _records(self) -> AsyncIterator[Any]:
        topic = self._settings.topic(self._topic)
        async for record in read_partition(self._settings, topic, self._number, self._end):
            self._end = record.offset + 1
            yield record


def _chunks(rows: Iterable[Publication]) -> Iterator[list[Publication]]:
    chunk: list[Publication] = []
    size = 0
    for row in rows:
        added = len(row[0]) + len(row[1] or b"") + RECORD_BYTES
        if chunk and size + added > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += added
    if chunk:
        yield chunk
