"""The item partition: one partition of `item-signals` at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from store.items import ItemRow
from store.settings import Settings
from store.topics import ITEM_SIGNALS, ITEM_STATES
from stream.ingest.item_side import Change, ItemSide
from stream.ingest.partition import Cursor, Fault, Partition, no_fault
from stream.ingest.refusals import send_refusals
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.state_topics import (
    CAUSED_AT,
    GENERATION,
    POSITION_KEY,
    Announcement,
    decode_announcement,
    encode_announcement,
    hole_reader,
    read_partition,
)
from stream.metrics.metrics import Metrics


class ItemPartition(Partition):
    """Absorbs signals into item rows and publishes them, coalesced: an item as often as the row budget allows."""

    def __init__(
        self,
        side: ItemSide,
        settings: Settings,
        emitter: Emitter,
        metrics: Metrics,
        generation: Callable[[], int],
        rows_per_s: Callable[[], float],
        url: str,
        fault: Fault = no_fault,
    ) -> None:
        super().__init__(side.partition, settings.store.item_publish_interval_s, hole_reader(settings), fault)
        self._signals = settings.topic(ITEM_SIGNALS)
        self.side = side
        self._settings = settings
        self._emitter = emitter
        self._metrics = metrics
        self._generation = generation
        self._rows_per_s = rows_per_s
        self._url = url

    async def restore(self) -> None:
        rows = self.side.rows
        merged: dict[str, ItemRow] = {}
        topic = self._settings.topic(ITEM_STATES)
        async for record in read_partition(self._settings, topic, self.number, rows.position.state_offset):
            rows.position.state_offset = record.offset + 1
            if record.key == POSITION_KEY and record.value is not None:
                self.side.meet(decode_announcement(record.value).position)
            elif record.key is not None and record.value is not None:
                row = self.side.merge(record.key.decode(), record.value)
                if row is not None:
                    merged[record.key.decode()] = row
            if len(merged) >= 1000:
                self.side.restore(merged)
                merged = {}
                await asyncio.sleep(0)
        self.side.restore(merged)
        self.cursors[self._signals] = Cursor(rows.position.safe + 1, rows.position.safe)
        await self._publish({}, self._announcement())  # at once: others learn where this partition's owner answers

    def keep_safe(self) -> None:
        self.side.rows.position.safe = self.cursors[self._signals].safe
        if not self.side.rows.staged:  # else the next publication writes it
            self.side.rows.write({})

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        effects = self.side.absorb(records)
        return await send_refusals(self._emitter, self._metrics, ITEM_SIGNALS, effects.refused)

    def pause_s(self) -> float:
        return max(super().pause_s(), self.side.rows.staged / self._rows_per_s())

    def publish(self) -> Coroutine[Any, Any, None]:
        dirty = self.side.flush()
        self._fault("written")
        return self._publish(dirty, self._announcement())

    def heal(self, item_id: str, published: ItemRow) -> None:
        """Publishes the own row again when an older one was read after it: the work of a worker that had lost this
        partition and did not know; compaction would keep that one."""
        own = self.side.rows.get(item_id)
        if own is not None and own.offset > published.offset and not self.side.rows.is_staged(item_id):
            self.side.rows.stage(item_id, own)
            self._unpublished = True

    def _announcement(self) -> bytes:
        return encode_announcement(Announcement(self.side.rows.position, self._url))

    async def _publish(self, dirty: Mapping[str, Change], announcement: bytes) -> None:
        generation = (GENERATION, str(self._generation()).encode())
        rows = [
            (item_id.encode(), change.row, [generation, (CAUSED_AT, str(change.caused_at_ms).encode())])
            for item_id, change in dirty.items()
        ]
        rows.append((POSITION_KEY, announcement, [generation]))  # last: it vouches for the rows
        end = await self._emitter.send_rows(ITEM_STATES, self.number, rows)
        self.side.rows.position.state_offset = max(self.side.rows.position.state_offset, end)

    def close(self) -> None:
        self.side.close()
