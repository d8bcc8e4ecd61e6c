"""Item rows: what a scorer takes from the rows that owners publish, a whole fetch at a time.

Of several copies of a row the furthest counts, whoever wrote it last; who owns the item is told of an older one behind
it. A row of an item without a card waits for the card, and neighbours that have none are left out until theirs comes.
What is left goes to the recommender as columns.

Invariant: what a scorer knows of an item never goes back, but for a row that has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import msgspec
import numpy as np

from store.items import ItemRow
from store.keys import partition_of
from store.records.foreign import ForeignRecords, id_in
from store.row_blocks.item_block import ItemBlock, block_of
from stream.kafka.state_topics import ended_before_s
from stream.serving.arrivals import Arrivals
from stream.serving.reading.known_rows import KnownRows
from stream.serving.reading.published_records import Owners, PublishedRecords, by_item, passing_over, row_offset_in
from stream.serving.uncatalogued.strange_neighbours import StrangeNeighbours
from stream.serving.uncatalogued.waiting_rows import WaitingRows
from trainer.recommender import Recommender


class ItemRows:
    """The rows of one scorer. `on_position` is given the positions that lie among the rows, after them."""

    def __init__(
        self,
        recommender: Recommender,
        read: PublishedRecords,
        owners: Owners,
        arrivals: Arrivals,
        partitions: int,
        on_position: Callable[[Any], None],
        foreign: ForeignRecords | None = None,
    ) -> None:
        self.waiting, self.strangers, self.known = WaitingRows(), StrangeNeighbours(), KnownRows()
        self._recommender = recommender
        self._read = read
        self._owners = owners
        self._arrivals = arrivals
        self._partitions = partitions
        self._on_position = on_position
        self._foreign = foreign or ForeignRecords()

    def on_records(self, records: Sequence[Any]) -> None:
        """Records (aiokafka's) of one partition of `item-states`, in its order."""
        positions, copies = by_item(records)
        found: dict[str, ItemRow] = {}
        for same in copies.values():
            if (item_id := self._passing_over(lambda record: id_in(record.key), same[-1])) is not None:
                self._meet(item_id, same, found)
        self._absorb(found)
        for record in positions:
            self._passing_over(self._on_position, record)

    def _passing_over(self, take: Callable[[Any], Any], record: Any) -> Any:
        return passing_over(self._foreign, take, record)

    def _meet(self, item_id: str, copies: list[Any], found: dict[str, ItemRow]) -> None:
        """The records of an item that came together."""
        if ended_before_s(copies[-1]) >= 0:
            return self._end(item_id)
        offsets = self._offsets([record for record in copies if record.value is not None])
        row = self._furthest(item_id, offsets)
        if row is None:
            return
        known = self.offset(item_id)
        if row.offset >= known:
            found[item_id] = row
        newest, offset = offsets[-1]
        if offset < max(known, row.offset):
            self._owners.heal(newest.partition, item_id, offset)
        for record, offset in offsets:
            self._arrivals.row(record, item_id, offset > known)
            known = max(known, offset)

    def _offsets(self, records: list[Any]) -> list[tuple[Any, int]]:
        """How far the row in each is, of those that hold one. Of a single one that is asked when it is read."""
        if len(records) == 1:
            return [(records[0], 0)]
        told = [(record, self._passing_over(row_offset_in, record)) for record in records]
        return [(record, offset) for record, offset in told if offset is not None]

    def _furthest(self, item_id: str, offsets: list[tuple[Any, int]]) -> ItemRow | None:
        """The furthest of some copies, the last of equal ones: the others are not read. Those that turn out to be no
        rows are taken out, and a single one says how far it is."""
        while offsets:
            place = max(range(len(offsets)), key=lambda place: (offsets[place][1], place))
            record = offsets[place][0]
            row: ItemRow | None = self._passing_over(lambda record: self._read.row(record, item_id), record)
            if row is not None:
                offsets[place] = record, row.offset
                return row
            del offsets[place]
        return None

    def offset(self, item_id: str) -> int:
        """How far the row is that is known of an item; -1 without one."""
        handle = self._recommender.catalog.handles.get(item_id)
        return max(-1 if handle is None else self.known.offset(handle), self.waiting.offset(item_id))

    def counters(self, item_id: str) -> dict[int, int]:
        """Kind → engagements with an item, live or not, as far as its owner has published them."""
        if waiting := self.waiting.get(item_id):
            return waiting.counters
        handle = self._recommender.catalog.handles.get(item_id)
        return {} if handle is None else self.known.counters(handle)

    def card_came(self, partition: int, item_id: str) -> None:
        """The card of an item is in the catalogue: its row counts from now on."""
        row = self.waiting.take(item_id)
        if row is not None:
            self._absorb({item_id: row})
        elif self.offset(item_id) < 0 and self.waiting.dropped:
            self._owners.wanted(partition, item_id)
        for other in self.strangers.met(item_id):
            self._owners.wanted(partition_of(other, self._partitions), other)

    def _absorb(self, rows: dict[str, ItemRow]) -> None:
        handles = self._recommender.catalog.handles
        for item_id in [item_id for item_id in rows if item_id not in handles]:
            self.waiting.put(item_id, msgspec.msgpack.encode(rows.pop(item_id)))
        if rows:
            self._take(block_of(list(rows), list(rows.values())))

    def _take(self, block: ItemBlock) -> None:
        """Takes over rows of items that are all in the catalogue."""
        handles = self._recommender.catalog.handles
        handle_I = np.fromiter(map(handles.get, block.ids, repeat(-1)), np.int64, len(block.ids))
        handle_R, source_E = handle_I[: len(block)], handle_I[block.index_E]
        if (strange_E := source_E < 0).any():
            self._note_strangers(block, strange_E)
            block = block.only(np.ones(len(block), bool), ~strange_E)
            source_E = source_E[~strange_E]
        self.known.put(handle_R, block.offset_R, block.counters_RK)
        self._recommender.update_many(handle_R, block, source_E)

    def _note_strangers(self, block: ItemBlock, strange_E: np.ndarray) -> None:
        row_E = np.repeat(np.arange(len(block)), block.count_R)[strange_E]
        for row, index in zip(row_E.tolist(), block.index_E[strange_E].tolist(), strict=True):
            self.strangers.note(block.ids[index], block.ids[row])

    def _end(self, item_id: str) -> None:
        """The row of an item has expired: what behaviour taught of it is gone."""
        self.waiting.drop(item_id)
        handle = self._recommender.catalog.handles.get(item_id)
        if handle is not None and self.known.drop(handle):
            self._recommender.forget(item_id)
