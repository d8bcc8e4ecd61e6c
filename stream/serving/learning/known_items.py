"""Known items: the cards of all items and their published vectors, for a worker that answers nothing.

Of a row it reads how far it is, how many engagements speak for it, and the vector: the rest is for ranking. A fetch is
absorbed at once, of each item the furthest row only. Where an item without a vector is expected is fitted anew as often
as a scorer does it.

Invariant: memory holds no row of an item that has no card, but for a bounded number that wait for theirs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from store.items import ItemCard, RowOffset, is_vector
from store.records.foreign import UNREADABLE, ForeignRecords, Offset, held_in, id_in
from store.row_blocks.item_block import vectors_of
from store.settings import Settings
from stream.kafka.state_topics import ended_before_s, generation_of
from stream.serving.reading.published_records import Owners, by_item, passing_over
from stream.serving.uncatalogued.waiting_rows import WaitingRows
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import ContentVectors
from trainer.items.published_vectors import PublishedVectors
from trainer.rules import recommender_rules

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""So often it is asked whether a fit is due."""
REST = 9.0
"""So many times as long as a fit took, none follows."""
NO_ROW = -1


class VectorRow(msgspec.Struct, array_like=True):
    """Of an encoded `ItemRow` as much as learning needs."""

    offset: Offset = NO_ROW
    counters: msgspec.Raw = msgspec.Raw()
    positives: Offset = 0
    negatives: msgspec.Raw = msgspec.Raw()
    first_at: msgspec.Raw = msgspec.Raw()
    last_at: msgspec.Raw = msgspec.Raw()
    value_sum: msgspec.Raw = msgspec.Raw()
    value_count: msgspec.Raw = msgspec.Raw()
    decayed_at: msgspec.Raw = msgspec.Raw()
    popularity: msgspec.Raw = msgspec.Raw()
    neighbours: msgspec.Raw = msgspec.Raw()
    landmark: msgspec.Raw = msgspec.Raw()
    prunings: msgspec.Raw = msgspec.Raw()
    vector: bytes = b""

    def fault(self) -> str:
        """Why no owner can have published this; empty if one can."""
        return "" if is_vector(self.vector) else "a vector that is none"


_rows = msgspec.msgpack.Decoder(VectorRow)
_offsets = msgspec.msgpack.Decoder(RowOffset)


class KnownItems:
    """Of one worker. `owners`: the partitions of items at work here; `on_position` is given the positions that lie
    among the rows."""

    def __init__(
        self, settings: Settings, owners: Owners, on_position: Callable[[Any], None], foreign: ForeignRecords
    ) -> None:
        rules = recommender_rules(settings)
        self.catalog = Catalog(rules.item, cards_folder=Path(settings.data_dir))
        self.waiting = WaitingRows()
        self._content = ContentVectors(self.catalog, rules.spectral.content_width)
        self.published = PublishedVectors(self._content, rules.vectors.width)
        self._rules = rules.spectral
        self._owners = owners
        self._on_position = on_position
        self._foreign = foreign
        self._offset_N = np.full(1024, NO_ROW, np.int64)
        self._fitted_at = 0.0
        self._described: set[int] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fit")

    # ---- cards ----

    def card(self, item_id: str) -> ItemCard | None:
        """The card of a live item."""
        handle = self.catalog.handles.get(item_id)
        return None if handle is None else self.catalog.cards[handle]

    def insert_card(self, card: ItemCard) -> None:
        """The item is known, or has moved."""
        self._describe(handle := self.catalog.insert(card))
        if self._described is not None:
            self._described.add(handle)

    def take_down(self, item_id: str) -> None:
        """The item is not known any more."""
        self.catalog.remove(item_id)

    def card_came(self, partition: int, item_id: str) -> None:
        """The card of an item is in the catalogue: its row counts from now on."""
        value = self.waiting.take_encoded(item_id)
        if value is not None:
            self._place({item_id: _rows.decode(value)})
        elif self.offset(item_id) < 0 and self.waiting.dropped:
            self._owners.wanted(partition, item_id)

    def _describe(self, handle: int) -> None:
        self._content.describe(handle)
        self.published.describe(handle)

    # ---- rows ----

    def on_records(self, records: Sequence[Any]) -> None:
        """Records (aiokafka's) of one partition of `item-states`, in its order."""
        positions, copies = by_item(records)
        found: dict[str, VectorRow] = {}
        for same in copies.values():
            self._passing_over(partial(self._meet, same, found), same[-1])
        self._place(found)
        for record in positions:
            self._passing_over(self._on_position, record)

    def _passing_over(self, take: Callable[[Any], Any], record: Any) -> Any:
        return passing_over(self._foreign, take, record)

    def _meet(self, copies: list[Any], found: dict[str, VectorRow], newest: Any) -> None:
        """The records of an item that came together: the furthest that is a row counts."""
        item_id = id_in(newest.key)
        if ended_before_s(newest) >= 0:
            return self._end(item_id)
        read = ((record, self._passing_over(_row_in, record)) for record in _furthest_first(copies))
        record, row = next((one for one in read if one[1] is not None), (newest, None))
        if row is None:
            return None
        known = self.offset(item_id)
        if row.offset < known or record is not newest:
            self._owners.heal(newest.partition, item_id, _offset_in(newest))
        if row.offset < known:
            return None
        if item_id in self.catalog.handles:
            found[item_id] = row
        else:
            self.waiting.put(item_id, record.value)
        return None

    def offset(self, item_id: str) -> int:
        """How far the row is that is known of an item; -1 without one."""
        handle = self.catalog.handles.get(item_id)
        if handle is None or handle >= len(self._offset_N):
            return self.waiting.offset(item_id)
        return int(self._offset_N[handle])

    def _place(self, rows: dict[str, VectorRow]) -> None:
        """Takes over rows of items that are all in the catalogue."""
        if not rows:
            return
        handles = self.catalog.handles
        handle_R = np.array([handles[item_id] for item_id in rows], np.int64)
        self._reserve()
        self._offset_N[handle_R] = [row.offset for row in rows.values()]
        self.catalog.count(handle_R, np.array([row.positives for row in rows.values()], np.int64))
        self.published.place_vectors(handle_R, vectors_of([row.vector for row in rows.values()]))

    def _end(self, item_id: str) -> None:
        """The row of an item has expired: what behaviour taught of it is gone."""
        self.waiting.drop(item_id)
        handle = self.catalog.handles.get(item_id)
        if handle is not None and self.offset(item_id) > NO_ROW:
            self._offset_N[handle] = NO_ROW
            self.catalog.count(np.array([handle]), np.zeros(1, np.int64))
            self.published.forget(handle)

    def _reserve(self) -> None:
        lack = len(self.catalog) - len(self._offset_N)
        if lack > 0:
            more = np.full(max(lack, len(self._offset_N)), NO_ROW, np.int64)
            self._offset_N = np.concatenate([self._offset_N, more])

    # ---- where items are expected ----

    def due(self) -> bool:
        """Whether enough was learned since the last fit for another."""
        least = self._fitted_at * (1.0 + self._rules.growth) if self._fitted_at else self._rules.min_positives
        return self.catalog.positives >= least

    async def run(self, caught_up: asyncio.Event) -> None:
        """Fits the expectation whenever that is due, until cancelled."""
        await caught_up.wait()
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            if self.due():
                began = loop.time()
                try:
                    await self._fit(loop)
                except Exception:
                    log.exception("where items are expected was not fitted again; the fit before it goes on")
                await asyncio.sleep(REST * (loop.time() - began))

    async def _fit(self, loop: asyncio.AbstractEventLoop) -> None:
        self._fitted_at, self._described = self.catalog.positives, set()
        size = len(self.catalog)
        try:
            projection, x_NC = await loop.run_in_executor(self._thread, self._content.refitted, size)
        finally:
            described, self._described = self._described, None
        self._content.adopt(projection, x_NC)
        for handle in {*described, *range(size, len(self.catalog))}:
            self._describe(handle)
        await loop.run_in_executor(self._thread, self.published.refit)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _furthest_first(copies: list[Any]) -> list[Any]:
    """Some copies by how far they say to be, the last of equal ones first."""
    if len(copies) == 1:
        return copies
    told = sorted(((_offset_in(record), place) for place, record in enumerate(copies)), reverse=True)
    return [copies[place] for _, place in told]


def _row_in(record: Any) -> VectorRow:
    """The row in a record. Raises `ForeignRecordError`."""
    generation_of(record)
    return held_in(record.value or b"", _rows.decode, "row")


def _offset_in(record: Any) -> int:
    """How far the row in a record is; -1 where it holds none."""
    try:
        return _offsets.decode(record.value or b"").offset
    except UNREADABLE:
        return NO_ROW
