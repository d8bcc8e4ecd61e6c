"""Published cards: the furthest counts, and a card that cannot be taken leaves what was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from store.headers import UPLOAD_OFFSET, numbered
from store.items import ItemCard
from store.records.foreign import ForeignRecordError
from stream.serving.reading.published_cards import PublishedCards
from stream.serving.reading.published_records import PublishedRecords
from tests.small_world import card
from tests.stream.serving.reading.test_item_rows import record
from tests.stream.serving.test_scorer import Told


class Shelf:
    """Cards by item; one with the title `bad` does not fit."""

    def __init__(self) -> None:
        self.held: dict[str, ItemCard] = {}

    def card(self, item_id: str) -> ItemCard | None:
        return self.held.get(item_id)

    def insert_card(self, card: ItemCard) -> None:
        self.held[card.item_id] = card
        if card.title == "bad":
            raise ValueError("it does not fit")

    def take_down(self, item_id: str) -> None:
        self.held.pop(item_id, None)


def published(offset: int, title: str = "") -> Any:
    one = msgspec.structs.replace(card(1), upload_offset=offset, title=title)
    return record("i1", msgspec.json.encode(one))


def test_the_furthest_card_counts_and_the_owner_hears_of_others() -> None:
    told: list[Any] = []
    came: list[tuple[int, bool]] = []
    shelf, owners = Shelf(), Told(told)
    read = PublishedRecords(1, owners, lambda: [], 0)
    cards = PublishedCards(shelf, read, owners, lambda _, one, known: came.append((one.upload_offset, bool(known))))
    cards.take(published(5), "i1")
    cards.take(published(3), "i1")
    with pytest.raises(ForeignRecordError):
        cards.take(published(8, "bad"), "i1")
    assert shelf.held["i1"].upload_offset == 5
    cards.take(published(7), "i1")
    cards.take(record("i1", None, headers=numbered(**{UPLOAD_OFFSET: 6})), "i1")
    assert shelf.held["i1"].upload_offset == 7
    cards.take(record("i1", None, headers=numbered(**{UPLOAD_OFFSET: 9})), "i1")
    assert not shelf.held
    assert came == [(5, False), (7, True)]
    assert [counts for _, _, counts in told] == [True, False, False, True, False, True]
