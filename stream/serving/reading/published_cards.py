"""Published cards: what of `semantic-ids` counts, in the order of the offsets, and who is told of it.

Invariant: of an item's cards and take-downs the furthest counts, whoever wrote last; the owner hears of one behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from store.items import ItemCard
from store.records.card_order import CardOrder
from stream.serving.reading.published_records import Owners, PublishedRecords


class Cards(Protocol):
    """Where cards go: a catalogue."""

    def card(self, item_id: str) -> ItemCard | None:
        """The card of a live item."""
        ...

    def insert_card(self, card: ItemCard) -> None: ...

    def take_down(self, item_id: str) -> None: ...


class PublishedCards:
    """Of one worker. `came(record, card, known)` hears of each card that was taken; `known`: the one before it."""

    def __init__(
        self,
        cards: Cards,
        read: PublishedRecords,
        owners: Owners,
        came: Callable[[Any, ItemCard, ItemCard | None], None],
    ) -> None:
        self._cards = cards
        self._read = read
        self._owners = owners
        self._came = came
        self._order = CardOrder()

    def take(self, record: Any, item_id: str) -> None:
        """Takes one record (aiokafka's) of an item. Raises `ForeignRecordError`."""
        known = self._cards.card(item_id)
        offset = None if known is None else known.upload_offset
        if record.value is None:
            counts = self._order.takes_down(item_id, record.headers, offset)
            if counts:
                self._cards.take_down(item_id)
        else:
            card = self._read.card(record, item_id)
            counts = self._order.admits(item_id, card.upload_offset, offset)
            if counts:
                with self._read.taking(record, item_id, lambda: self._undo(item_id, known)):
                    self._cards.insert_card(card)
                self._came(record, card, known)
        self._owners.card_read(record.partition, item_id, counts)

    def _undo(self, item_id: str, known: ItemCard | None) -> None:
        self._cards.take_down(item_id)
        if known is not None:
            self._cards.insert_card(known)
