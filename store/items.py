"""Items: the durable row of one item, and the card that makes it recommendable.

An `ItemRow` is what behaviour has taught about an item; its owner absorbs signals into it and publishes it on
`item-states`. An `ItemCard` is what its maker said about it plus its semantic ID: the record on `semantic-ids`.

Invariant: a signal record at or before `row.offset` changes nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

import msgspec
import numpy as np


class ItemRow(msgspec.Struct, array_like=True):
    """Behaviour of one item. Only engagements with positive weight count, except in `counters` and `negatives`.

    `counters`: kind code → engagements, exact. `popularity`: decayed weight as of `decayed_at` (event time, epoch
    seconds), one per half-life of the rules. `neighbours`: earlier item → transition weight in units of `landmark`
    (forward decay: see `trainer.items.item_learning`); `prunings` counts how often the light ones were dropped, and
    between two prunings neighbours are only appended. `vector`: packed little-endian float16, of length 1; `step`: the
    accumulator of its optimiser (see `trainer.items.vector_learning`), so that its learner can go on from here.
    `shown`: decayed impressions as of `shown_at`, one per half-life; empty where the stream tells of none.
    """

    offset: int = -1
    counters: dict[int, int] = {}
    positives: int = 0
    negatives: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    value_sum: float = 0.0
    value_count: int = 0
    decayed_at: float = 0.0
    popularity: list[float] = []
    neighbours: dict[str, float] = {}
    landmark: float = 0.0
    prunings: int = 0
    vector: bytes = b""
    step: float = 0.0
    shown: list[float] = []
    shown_at: float = 0.0

    def vector_D(self) -> np.ndarray:
        """The vector as float16 (shape D, or 0 before it was learned)."""
        return np.frombuffer(self.vector, dtype="<f2")


class RowOffset(msgspec.Struct, array_like=True):
    """The beginning of an encoded row: enough to tell which of two is further, at a sixth of the cost."""

    offset: int


class ItemCard(msgspec.Struct, kw_only=True, frozen=True):
    """A live item with its semantic ID under one codebook version: the JSON record on `semantic-ids`.

    `suffix` tells items with equal codes apart. `content` holds the content vector of each modality (`text` among
    them), base64 of little-endian float16, so that any reader can assign the item under another codebook version.
    `published_at_ms` is the timestamp of the upload record: freshness is measured from it. `upload_offset` is its
    offset in `uploads`: of two cards the further one counts (see `store.card_order`).
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

    def parts(self) -> dict[str, np.ndarray]:
        """Modality → float16 vector."""
        return {name: np.frombuffer(base64.b64decode(text), dtype="<f2") for name, text in self.content.items()}


def pack_parts(parts: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The `content` field of a card for these vectors."""
    return {name: base64.b64encode(vector.astype("<f2").tobytes()).decode() for name, vector in parts.items()}
