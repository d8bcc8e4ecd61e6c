"""The item partition: one partition of `item-signals` at work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from itertools import chain, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from store.headers import CANARY_AT, numbered
from store.records.foreign import UNREADABLE
from store.rows import Position
from store.signals import decode_frames
from store.topics import ITEM_SIGNALS, ITEM_STATES
from stream.ingest.item_side import Change, ItemSide
from stream.ingest.protocol.partition import Cursor, Partition
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.protocol.published_rows import BEAT_S, PublishedRows
from stream.ingest.protocol.refusals import send_refusals
from stream.ingest.protocol.republication import Republication
from stream.kafka.emitter_lane import Header
from stream.kafka.log_identity import forget_lost_states, has_all_states, look_at, start_reading
from stream.kafka.records import Record
from stream.kafka.state_topics import (
    CAUSED_AT,
    EXPIRED,
    GENERATION,
    POSITION_KEY,
    REPUBLISHED,
    Announcement,
    encode_announcement,
    hole_reader,
    read_partition,
)
from stream.tracing.stages import NO_STAGES, TracedRows

if TYPE_CHECKING:
    from stream.tracing.spans import Stage

log = logging.getLogger(__name__)

NONE: Mapping[str, int] = MappingProxyType({})

MOST_UNKNOWN = 1000
"""Rows of items that nobody has uploaded that wait to be published: each is another one, and has no time to gather."""


class ItemPartition(Partition):
    """Absorbs signals into item rows and publishes them, coalesced: an item as often as the row budget allows."""

    beat_s = BEAT_S
    longest_pause_s = 5.0

    def __init__(
        self,
        side: ItemSide,
        context: PartitionContext,
        rows_per_s: Callable[[], float],
        url: str,
    ) -> None:
        settings = context.settings
        super().__init__(side.partition, settings.store.item_publish_interval_s, hole_reader(settings), context.fault)
        self._signals = settings.topic(ITEM_SIGNALS)
        self.side = side
        self._settings = settings
        self._emitter = context.emitter
        self._metrics = context.metrics
        self._foreign = context.foreign
        self._generation = context.generation
        self._stages, self._traced = context.stages, TracedRows(context.stages)
        self._rows_per_s = rows_per_s
        self._url = url
        self._published = PublishedRows(settings, context.emitter, ITEM_STATES, side.partition, side, context.foreign)
        self.republication: Republication = Republication(side.rows, f"{ITEM_STATES}-{side.partition}")

    async def restore(self) -> None:
        rows, settings = self.side.rows, self._settings
        states = await look_at(settings, (ITEM_STATES,), self.number)
        lost = forget_lost_states(rows.position, ITEM_STATES, states[ITEM_STATES])
        await self._published.restore()
        self._fault("restored")
        seen = await look_at(settings, (ITEM_SIGNALS,), self.number)  # after the rows: they say how far it was
        reached = max(self.side.reached, rows.position.absorbed, self.side.vectors.store.position.absorbed)
        logs, start_over = rows.position.logs, settings.kafka.start_over
        start = start_reading(seen[ITEM_SIGNALS], logs.get(ITEM_SIGNALS), rows.position.safe, reached, start_over)
        logs[ITEM_SIGNALS] = start.identity
        cursor = self.cursors[self._signals] = Cursor.at(start)
        rows.position.safe = cursor.counted_safe
        if lost:
            await self._publish_all()
            has_all_states(rows.position, ITEM_STATES, states[ITEM_STATES])
        self.republication.resume()
        await self._stage_unpublished(cursor)
        await self.publish()  # at once: others learn where the owner answers, and a former owner that it is none

    async def _stage_unpublished(self, cursor: Cursor) -> None:
        """Stages the rows that may be on this disk only: the position that is published next says that the topic has
        all that it has passed. An owner with another disk takes what is passed for repeated."""
        absorbed = self.side.rows.position.absorbed
        if absorbed <= cursor.counted_safe:
            return
        where = (self._signals, self.number)
        async with aclosing(read_partition(self._settings, *where, cursor.safe + 1)) as records:
            async for r in records:
                record = Record(*where, r.offset, r.timestamp, r.key, r.value, lambda: None)
                if cursor.identity.counted(r.offset) > absorbed:
                    return
                self.side.publish_again(record)

    async def _publish_all(self) -> None:
        """Publishes every row: the state topic has lost them. The position beside them vouches for nothing yet."""
        log.warning("item-states-%s is another topic than before, or was cut: publishing every row again", self.number)
        stored = self.side.rows.scan()
        encode = self.side.rows.encode
        while chunk := {item_id: Change(encode(row), 0) for item_id, row in islice(stored, 1000)}:
            await self._publish(chunk, encode_announcement(Announcement(Position(), self._url, self.number)))
            self._fault("rows_republished")

    def keep_safe(self) -> None:
        self.side.rows.position.safe = self.cursors[self._signals].counted_safe
        if not self.side.rows.staged:  # else the next publication writes it
            self.side.rows.write({})
        self._fault("kept")

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        cursor = self.cursors.setdefault(self._signals, Cursor())
        records = cursor.counted(records)
        traced = self._stages.taken(ITEM_SIGNALS, records)
        effects = self.side.absorb(records)
        for record in records if traced else ():
            self._trace(record, traced.get(record.offset))
        refused = cursor.as_read(effects.refused)
        for record, refusal in refused:  # sidestream alone writes here
            self._foreign.met(ITEM_SIGNALS, record, refusal.detail)
        return await send_refusals(self._emitter, self._metrics, ITEM_SIGNALS, refused)

    def _trace(self, record: Record, stage: Stage | None) -> None:
        """What a traced record has changed is absorbed now."""
        if stage is not None:
            stage.end()
            with suppress(*UNREADABLE):  # such a record is refused
                frames = decode_frames(record.value or b"")
                self._traced.changed((signal.item_id for frame in frames for signal in frame.signals), stage)

    def gathered_rows(self) -> int:
        return self.side.rows.staged

    def _is_crowded(self) -> bool:
        return self.side.staged_unknown >= MOST_UNKNOWN or super()._is_crowded()

    def rows_per_s(self) -> float:
        return self._rows_per_s()

    def publish(self) -> Coroutine[Any, Any, None]:
        ends = self._published.ends()
        dirty = self.side.flush()
        traced = self._traced.publishing(dirty)
        self._fault("written")
        told = [*self.republication.headers(), *self._canary()]
        return self._publish(dirty, self._announcement(), told, ends, traced)

    def _canary(self) -> list[Header]:
        """Of a position: when the newest canary came of which all that came before it is published by then."""
        at_ms = self.side.canary_at_ms
        return numbered(**{CANARY_AT: at_ms}) if at_ms >= 0 else []

    def heal(self, item_id: str, offset: int) -> None:
        """Publishes the own row again when one that is only so far was read after it: the work of a worker that had
        lost this partition and did not know; compaction would keep that one."""
        own = self.side.rows.get(item_id)
        if own is not None and own.offset > offset and not self.side.rows.is_staged(item_id):
            self.side.rows.stage(item_id, own)
            self._unpublished = True

    def publish_again(self, item_id: str) -> None:
        """Publishes a row again that a scorer has passed over."""
        row = self.side.rows.get(item_id)
        if row is not None:
            self.side.rows.stage(item_id, row)
            self._unpublished = True

    def contradict(self, generation: int) -> None:
        """Announces itself again when one of an earlier generation has announced itself as the owner."""
        if generation < self._generation():
            self._unpublished = True

    def _announcement(self) -> bytes:
        return encode_announcement(Announcement(self.republication.position(), self._url, self.number))

    async def _publish(
        self,
        dirty: Mapping[str, Change],
        announcement: bytes,
        told: Sequence[Header] = (),
        ends: Mapping[str, int] = NONE,
        traced: Mapping[str, list[Stage]] = NO_STAGES,
    ) -> None:
        """`told`: headers of the position. `traced`: the stages in which rows are published now, by item."""
        generation = self._generation()
        header = (GENERATION, str(generation).encode())
        rows: list[tuple[bytes, bytes | None, list[Header]]] = [
            (item_id.encode(), change.row, [header, (CAUSED_AT, str(change.caused_at_ms).encode())])
            for item_id, change in dirty.items()
        ]
        for place, item_id in enumerate(dirty if traced else ()):
            rows[place][2].extend(header for stage in traced.get(item_id, ()) for header in stage.headers)
        rows += [(key.encode(), None, [header, *numbered(**{EXPIRED: before})]) for key, before in ends.items()]
        rows.append((POSITION_KEY, announcement, [header, *told]))  # last: it vouches for the rows
        if await self._published.publish(rows, generation):
            self._unpublished = True
        for stage in chain.from_iterable(traced.values()):
            stage.end()
        self.republication.landed([each for each in told if each[0] == REPUBLISHED])
        self._metrics.expired("items", len(self.side.expiry.landed(ends)))

    def close(self) -> None:
        self.side.close()
