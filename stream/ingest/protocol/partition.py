"""A partition at work: take records from an agent, absorb them, send what they cause, publish state, acknowledge.

The numbered protocol of one partition, the same for uploads, users and items:

1. restore: rows come from the local store, brought up to date from the state topic.
2. absorb: records in order, none left out; rows and position in one write batch.
3. send: what the records cause, in order.
4. publish: changed rows to the state topic, then the position.
5. acknowledge: only what 2 to 4 have made safe; Faust commits up to there.

A crash between any two steps leads back to 1 with records read again, and reading again changes nothing.

The order of 2 is this module's own care. After a rebalance Faust may deliver a later record before earlier ones, take
the hole for a compacted one and commit past it. So each topic has a cursor: what is before it needs no more work here,
what is beyond it has a hole before it, and the hole is read from the log. The group's committed offset decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from store.files.crash_points import Fault, no_fault
from store.rows import LogIdentity
from stream.ingest.protocol.republication import Republication
from stream.ingest.protocol.schema_wait import SchemaWait
from stream.kafka.log_identity import ReadingStart
from stream.kafka.records import ReadHole, Record, Refused
from stream.metrics.publication_pace import BusyTime

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""How often a partition that gathers changes looks whether it has gathered enough."""

_SAME = LogIdentity()


@dataclass(slots=True)
class Cursor:
    """How far one topic of the partition has come. `ahead`: the next offset to absorb, None before the first record of
    a partition that keeps no position. `safe`: everything up to here is safe. `first`: where a partition that keeps no
    position began. All in the broker's offsets; `identity` says how rows count them."""

    ahead: int | None = None
    safe: int = -1
    first: int | None = None
    identity: LogIdentity = _SAME

    @classmethod
    def at(cls, start: ReadingStart) -> Cursor:
        """A cursor where reading begins."""
        return cls(start.offset, start.offset - 1, None, start.identity)

    @property
    def counted_safe(self) -> int:
        """`safe` as rows count it."""
        return self.identity.counted(self.safe + 1) - 1

    def counted(self, records: list[Record]) -> list[Record]:
        """Records with offsets as rows count them; the same ones but for a log that was started over."""
        if not self._counts_otherwise:
            return records
        return [record._replace(offset=self.identity.counted(record.offset)) for record in records]

    def as_read(self, refused: list[Refused]) -> list[Refused]:
        """Refusals of `counted` records with the broker's offsets, for a person who looks for them."""
        if not self._counts_otherwise:
            return refused
        offset = self.identity.offset
        return [Refused(each.record._replace(offset=offset(each.record.offset)), each.refusal) for each in refused]

    @property
    def _counts_otherwise(self) -> bool:
        return bool(self.identity.base or self.identity.before)


class Partition(ABC):
    """One partition of one agent. `interval_s` is the least time between two publications."""

    capacity = 2000
    batch = 500
    batch_bytes = 32 << 10
    """A batch ends with the record that reaches this: so long the event loop does nothing else (some milliseconds)."""
    capacity_bytes = 16 << 20
    gather_s = 0.01
    """So long a partition that was idle lets records gather: what a batch costs is shared by all that are in it."""
    longest_pause_s = math.inf
    """So long changes wait to be published, at most, however many more there are than the pace allows."""
    most_rows = 10_000
    most_records = 10_000
    """When so many rows have changed, or records been absorbed, since the last publication, the next one is due, and
    nothing more is absorbed before it has begun: what is held in memory is bounded whatever arrives."""
    beat_s = math.inf
    """A partition with nothing to publish says after so long where it stands: so it finds what others have written."""

    def __init__(
        self,
        number: int,
        interval_s: float,
        read_hole: ReadHole,
        fault: Fault = no_fault,
        schemas: SchemaWait | None = None,
    ) -> None:
        self.number = number
        self._schemas = schemas
        self.restored = asyncio.Event()
        self.cursors: dict[str, Cursor] = {}
        self._interval_s = interval_s
        self._read_hole = read_hole
        self._fault = fault
        self._inbox: deque[Record] = deque()
        self._queued_bytes = 0
        self._absorbed: list[Record] = []
        self._unpublished = False
        self._sends: list[asyncio.Future[Any]] = []
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._epoch = 0
        self._closed = False
        self._at_work = False
        self._taken = asyncio.Event()
        self.republication: Republication | None = None
        self.measured: Callable[[int, float], None] = lambda *_: None
        """Told of every publication: its rows, and how long it kept the event loop busy."""

    async def put(self, record: Record) -> None:
        """Queues one record; waits while the partition is behind, so that the agent stops reading."""
        epoch = self._epoch
        while self._is_full() and not self._closed:
            self._room.clear()
            await self._room.wait()
        if not self._closed and epoch == self._epoch:
            self._inbox.append(record)
            self._queued_bytes += _size(record)
            self._arrived.set()

    def _is_full(self) -> bool:
        return len(self._inbox) >= self.capacity or self._queued_bytes >= self.capacity_bytes

    def rewind(self) -> None:
        """Forgets what is queued: after a rebalance the log delivers it again, from the committed position on."""
        self._epoch += 1
        self._inbox.clear()
        self._queued_bytes = 0
        self._room.set()

    async def run(self) -> None:
        """Works until cancelled; raises what goes wrong."""
        try:
            await self.restore()
            self.restored.set()
            self._at_work = True
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._absorb_loop())
                tasks.create_task(self._publish_loop())
        finally:
            self._closed = True
            self._room.set()
            self.close()

    @abstractmethod
    async def restore(self) -> None:
        """Step 1; sets the cursors."""

    @abstractmethod
    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        """Steps 2 and 3 for records of one topic: returns the sends still under way."""

    @abstractmethod
    def publish(self) -> Coroutine[Any, Any, None]:
        """Step 4: takes what has changed at once, and has it safe in the state topic when awaited."""

    def keep_safe(self) -> None:  # noqa: B027  (partitions without rows keep no position)
        """Notes the cursors' safe offsets where the next start finds them."""

    @abstractmethod
    def close(self) -> None:
        """Gives the rows back."""

    def gathered_rows(self) -> int:
        """How many rows have changed since the last publication."""
        return 0

    def rows_per_s(self) -> float:
        """The pace: how many rows a second this partition may publish."""
        return math.inf

    def pause_s(self) -> float:
        """How long changes are to be gathered before the next publication, by what has been gathered so far."""
        return min(self.longest_pause_s, max(self._interval_s, self.gathered_rows() / self.rows_per_s()))

    def _is_crowded(self) -> bool:
        return self.gathered_rows() >= self.most_rows or len(self._absorbed) >= self.most_records

    async def _absorb_loop(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(self.gather_s)
            self._arrived.clear()
            while self._inbox:
                await self._take(self._next_batch())
                await asyncio.sleep(0)  # a long queue must not keep the loop from answering requests

    def _next_batch(self) -> list[Record]:
        records: list[Record] = []
        size = 0
        while self._inbox and len(records) < self.batch and size < self.batch_bytes:
            records.append(self._inbox.popleft())
            size += _size(records[-1])
        self._queued_bytes -= size
        self._room.set()
        return records

    async def _take(self, records: list[Record]) -> None:
        """Absorbs what is new of these records, in runs of one topic without holes; the rest only waits to be
        acknowledged."""
        run: list[Record] = []
        for record in records:
            cursor = self.cursors.setdefault(record.topic, Cursor())
            if run and run[0].topic != record.topic:
                run = await self._absorb_run(run)
            if cursor.ahead is None:
                cursor.ahead = cursor.first = record.offset
            elif cursor.first is not None and record.offset < cursor.first:
                # The first delivery had a hole before it. Absorbing again what follows the hole changes nothing.
                run = await self._absorb_run(run)
                cursor.ahead = cursor.first = record.offset
            if record.offset > cursor.ahead:
                run = await self._absorb_run(run)
                await self._fill_hole(cursor, record)
            if record.offset == cursor.ahead:
                run.append(record)
                cursor.ahead += 1
            else:
                run = await self._absorb_run(run)
                self._absorbed.append(_without_bytes(record))
        await self._absorb_run(run)

    async def _absorb_run(self, run: list[Record]) -> list[Record]:
        if run:
            if self._schemas is not None:
                await self._schemas.ready(run)
            self._sends.extend(await self.absorb(run))
            self._fault("absorbed")
            self._absorbed.extend(map(_without_bytes, run))
            self._unpublished = True
            while self._at_work and self._is_crowded():
                self._taken.clear()
                await self._taken.wait()
        return []

    async def _fill_hole(self, cursor: Cursor, beyond: Record) -> None:
        """Reads on from the cursor to the end of the log. Offsets that no record has (compaction, transactions) are
        passed over."""
        assert cursor.ahead is not None
        log.info("%s-%s: reading %s on, %s came", beyond.topic, self.number, cursor.ahead, beyond.offset)
        run: list[Record] = []
        size = 0
        async for record in self._read_hole(beyond.topic, self.number, cursor.ahead):
            run.append(record)
            size += _size(record)
            cursor.ahead = record.offset + 1
            if len(run) >= self.batch or size >= self.batch_bytes:
                size = 0
                run = await self._absorb_run(run)
                await asyncio.sleep(0)
        await self._absorb_run(run)
        if cursor.ahead < beyond.offset:
            cursor.ahead = beyond.offset

    async def _publish_loop(self) -> None:
        published_at = time.monotonic()
        while True:
            began = time.monotonic()
            await asyncio.sleep(min(self._interval_s, LOOK_S))
            while (rest_s := began + self.pause_s() - time.monotonic()) > 0 and not self._is_crowded():
                await asyncio.sleep(min(rest_s, LOOK_S))  # the pause grows while more is absorbed
            republishes = self.republication is not None and self.republication.under_way
            if self._absorbed or self._unpublished or republishes or began - published_at > self.beat_s:
                published_at = began
                await self._publish_once()

    async def _publish_once(self) -> None:
        # Taken before the first await: what is absorbed from here on belongs to the next publication. A run that is
        # being absorbed now has moved the cursor, but its sends are not here yet: hence the offsets of `_absorbed`.
        records, self._absorbed = self._absorbed, []
        sends, self._sends = self._sends, []
        self._unpublished = False
        if self.republication is not None:
            self.republication.stage()
        rows, began = self.gathered_rows(), time.thread_time()
        publication = self.publish()
        written_s = time.thread_time() - began
        self._taken.set()
        try:
            await asyncio.gather(*sends)
        except BaseException:
            publication.close()
            raise
        self._fault("sent")
        sending = BusyTime(publication)
        await sending
        self.measured(rows, written_s + sending.busy_s)
        self._fault("published")
        for record in records:
            cursor = self.cursors[record.topic]
            cursor.safe = max(cursor.safe, record.offset)
            record.acknowledge()
        self.keep_safe()


def _without_bytes(record: Record) -> Record:
    """What acknowledging needs of an absorbed record."""
    return Record(record.topic, record.partition, record.offset, record.timestamp_ms, None, b"", record.acknowledge)


def _size(record: Record) -> int:
    return len(record.value or b"")
