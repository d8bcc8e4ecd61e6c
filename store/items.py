"""Items: the durable row of one item, and the card that makes it recommendable.

An `ItemRow` is what behaviour has taught about an item; its owner absorbs signals into it and publishes it on
`item-states`. An `ItemCard` is what its maker said about it plus its semantic ID: the record on `semantic-ids`.

Invariant: a signal record at or before `row.offset` changes nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np

from store.events import MOST_FEATURES, MOST_NUMBERS, KindCode
from store.records.foreign import (
    Finite,
    ForeignRecordError,
    Moment,
    Offset,
    Second,
    Weight,
    held_in,
    is_offset,
    is_time,
    is_time_ms,
)
from store.records.row_ages import ages_in

MOST_CODES, MOST_NEIGHBOURS = 64, 10_000
"""Bounds of what the settings may ask for."""


class ItemRow(msgspec.Struct, array_like=True):
    """Behaviour of one item. Only engagements with positive weight count, except in `counters` and `negatives`.

    `counters`: kind code → engagements, exact. `popularity`: decayed weight as of `decayed_at` (event time, epoch
    seconds), one per half-life of the rules. `neighbours`: earlier item → transition weight in units of `landmark`
    (forward decay: see `trainer.items.item_learning`); `prunings` counts how often the light ones were dropped, and
    between two prunings neighbours are only appended. `vector`: packed little-endian float16, of length 1; `step`: the
    accumulator of its optimiser (see `trainer.items.vector_learning`), so that its learner can go on from here.
    `shown`: decayed impressions as of `shown_at`, one per half-life; empty where the stream tells of none. `touched_s`:
    time of the last record absorbed, by the broker (0: not known).
    """

    offset: Offset = -1
    counters: dict[KindCode, Offset] = {}
    positives: Offset = 0
    negatives: Offset = 0
    first_at: Moment = 0.0
    last_at: Moment = 0.0
    value_sum: Finite = 0.0
    value_count: Offset = 0
    decayed_at: Moment = 0.0
    popularity: list[Weight] = []
    neighbours: Annotated[dict[str, Weight], msgspec.Meta(max_length=MOST_NEIGHBOURS)] = {}
    landmark: Moment = 0.0
    prunings: Offset = 0
    vector: bytes = b""
    step: Weight = 0.0
    shown: list[Weight] = []
    shown_at: Moment = 0.0
    touched_s: Second = 0

    def vector_D(self) -> np.ndarray:
        """The vector as float16 (shape D, or 0 before it was learned)."""
        return np.frombuffer(self.vector, dtype="<f2")

    def fault(self) -> str:
        """Why no owner can have published this; empty if one can."""
        if not is_vector(self.vector):
            return "a vector that is none"
        return "popularity is missing" if self.positives > 0 and not self.popularity else ""


_NOT_FINITE = bytes(high for high in range(256) if high & 0x7C == 0x7C)


def is_vector(vector: bytes) -> bool:
    """Whether these are packed float16 numbers, all finite: one that is not has all bits of its exponent set. Asked of
    every row that a scorer reads, so without an array."""
    high = vector[1::2]
    return len(vector) % 2 == 0 and len(high.translate(None, _NOT_FINITE)) == len(high)


age_of = ages_in(ItemRow)


class RowOffset(msgspec.Struct, array_like=True):
    """The beginning of an encoded row: enough to tell which of two is further, at a sixth of the cost."""

    offset: int


class ItemCard(msgspec.Struct, kw_only=True, frozen=True):
    """A live item with its semantic ID under one codebook version: the JSON record on `semantic-ids`.

    `suffix` tells items with equal codes apart. `content` holds the content vector of each modality (`text` among
    them), base64 of little-endian float16, so that any reader can assign the item under another codebook version.
    `published_at_ms` is the timestamp of the upload record: freshness is measured from it. `upload_offset` is its
    offset in `uploads`: of two cards the further one counts (see `store.records.card_order`).
    """

    item_id: str
    codebook: str
    codes: list[int]
    suffix: int
    assigned_at: float
    uploaded_at: float
    published_at_ms: int
    title: str = ""
    tags: list[str] = []
    category: str | None = None
    creator_id: str | None = None
    language: str | None = None
    content: dict[str, str] = {}
    upload_offset: int = -1

    def fault(self) -> str:
        """Why no owner can have published this; empty if one can."""
        if not is_offset(self.upload_offset, self.suffix, *self.codes) or len(self.codes) > MOST_CODES:
            return "an offset or codes that no catalogue has"
        if not is_time(self.assigned_at, self.uploaded_at) or not is_time_ms(self.published_at_ms):
            return "a time that has not come"
        try:
            vectors = list(self.parts().values())
        except (binascii.Error, ValueError) as error:
            return f"content that is none: {error}"
        wide = len(vectors) > MOST_FEATURES + 1 or max(map(len, vectors), default=0) > MOST_NUMBERS
        return "" if not wide and all(np.isfinite(vector).all() for vector in vectors) else "content beyond all bounds"

    def parts(self) -> dict[str, np.ndarray]:
        """Modality → float16 vector."""
        return {name: np.frombuffer(base64.b64decode(text), dtype="<f2") for name, text in self.content.items()}


_cards = msgspec.json.Decoder(ItemCard)
_rows = msgspec.msgpack.Decoder(ItemRow)


def card_in(value: bytes, item_id: str) -> ItemCard:
    """The card that a record of `semantic-ids` under this id holds. Raises `ForeignRecordError`."""
    card = held_in(value, _cards.decode, "card")
    if card.item_id != item_id:
        raise ForeignRecordError(f"the card of {card.item_id!r}, under another key")
    return card


def row_in(value: bytes) -> ItemRow:
    """The row that a record of `item-states` holds. Raises `ForeignRecordError`."""
    return held_in(value, _rows.decode, "item's row")


def pack_parts(parts: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The `content` field of a card for these vectors."""
    return {name: base64.b64encode(vector.astype("<f2").tobytes()).decode() for name, vector in parts.items()}
