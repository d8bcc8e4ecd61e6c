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
from stream.ingest.published_rows import BEAT_S, Publication, PublishedRows
from stream.ingest.refusals import send_refusals
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.state_topics import (
    CAUSED_AT,
    GENERATION,
    POSITION_KEY,
    Announcement,
    encode_announcement,
    hole_reader,
)
from stream.metrics.metrics import Metrics


class ItemPartition(Partition):
    """Absorbs signals into item rows and publishes them, coalesced: an item as often as the row budget allows."""

    beat_s = BEAT_S

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
        self._published = PublishedRows(settings, emitter, ITEM_STATES, side.partition, side)

    async def restore(self) -> None:
        await self._published.restore()
        position = self.side.rows.position
        self.cursors[self._signals] = Cursor(position.safe + 1, position.safe)
        await self.publish()  # at once: others learn where the owner answers, and a former owner that it is none

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

    def contradict(self, generation: int) -> None:
        """Announces itself again when one of an earlier generation has announced itself as the owner."""
        if generation < self._generation():
            self._unpublished = True

    def _announcement(self) -> bytes:
        return encode_announcement(Announcement(self.side.rows.position, self._url))

    async def _publish(self, dirty: Mapping[str, Change], announcement: bytes) -> None:
        generation = self._generation()
        header = (GENERATION, str(generation).encode())
        rows: list[Publication] = [
            (item_id.encode(), change.row, [header, (CAUSED_AT, str(change.caused_at_ms).encode())])
            for item_id, change in dirty.items()
        ]
        rows.append((POSITION_KEY, announcement, [header]))  # last: it vouches for the rows
        if await self._published.publish(rows, generation):
            self._unpublished = True

    def close(self) -> None:
        self.side.close()
