"""What a scorer takes from its topics: what is none changes nothing, and its owner is told to publish again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from store.items import ItemCard, ItemRow
from store.keys import partition_of
from store.records.foreign import ForeignRecordError
from store.settings import Settings
from stream.serving.reading.published_records import PublishedRecords, row_offset_in
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.codebook import zero_codebook

CARD = ItemCard(item_id="i", codebook="c", codes=[1], suffix=2, assigned_at=1.0, uploaded_at=1.0, published_at_ms=1)
HOME = partition_of("i", 4)


class Told:
    """Owners that note what they are told of."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def wanted(self, number: int, item_id: str) -> None:
        self.told.append((number, item_id))

    def card_read(self, number: int, item_id: str, counts: bool) -> None:
        self.told.append((number, item_id, counts))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def record(value: bytes, partition: int = HOME, headers: Any = (("generation", b"1"),)) -> Any:
    return SimpleNamespace(key=b"i", value=value, partition=partition, offset=3, headers=headers)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def read(told: Told) -> PublishedRecords:
    bundle = ModelBundle(zero_codebook(Settings()))
    return PublishedRecords(4, told, lambda: [bundle], 7)


def test_a_card_that_does_not_fit_its_codebook_is_none_and_its_owner_hears_of_it(
    read: PublishedRecords, told: Told
) -> None:
    assert read.card(record(msgspec.json.encode(CARD)), "i") == CARD
    book = zero_codebook(Settings())
    for codes in ([1], [10_000] * book.levels):
        misfit = msgspec.structs.replace(CARD, codebook=book.version, codes=codes)
        with pytest.raises(ForeignRecordError, match="has not"):
            read.card(record(msgspec.json.encode(misfit)), "i")
    with pytest.raises(ForeignRecordError):
        read.card(record(b"?", partition=(HOME + 1) % 4), "i")  # nobody has the item there
    assert told.told == [(HOME, "i", False)] * 2


def test_a_row_without_a_generation_or_with_other_half_lives_is_none(read: PublishedRecords, told: Told) -> None:
    whole = msgspec.msgpack.encode(ItemRow(5, positives=1, popularity=[1.0] * 7))
    assert read.row(record(whole), "i").offset == row_offset_in(record(whole)) == 5
    other = msgspec.msgpack.encode(ItemRow(5, positives=1, popularity=[1.0] * 3))
    for each in (record(whole, headers=()), record(other), record(b"\xff")):
        with pytest.raises(ForeignRecordError):
            read.row(each, "i")
    assert told.told == [(HOME, "i")] * 3
    with pytest.raises(ForeignRecordError):
        row_offset_in(record(b"\xff"))


def test_what_fails_while_a_card_is_taken_is_undone(read: PublishedRecords, told: Told) -> None:
    done: list[str] = []

    def undo() -> None:
        done.append("undone")

    with read.taking(record(b""), "i", undo):
        done.append("taken")
    with pytest.raises(ForeignRecordError, match="cannot be taken"), read.taking(record(b""), "i", undo):
        raise OverflowError("what nobody thought of")
    assert done == ["taken", "undone"]
    assert told.told == [(HOME, "i", False)]
