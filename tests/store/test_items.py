"""Items: cards keep content vectors to the bit, rows their numbers."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from store.items import ItemCard, ItemRow, pack_parts

halves = arrays("<f2", st.integers(0, 20), elements=st.floats(width=16, allow_nan=False))


def card(**fields: object) -> ItemCard:
    required = {"item_id": "i", "codebook": "c", "codes": [1, 2], "suffix": 0, "assigned_at": 1.0, "uploaded_at": 0.5}
    return ItemCard(**{**required, "published_at_ms": 3, **fields})


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), halves, max_size=3))
def test_parts_survive_the_record(parts: dict[str, np.ndarray]) -> None:
    made = card(content=pack_parts(parts))
    read = msgspec.json.decode(msgspec.json.encode(made), type=ItemCard)
    assert read == made
    assert {name: part.tobytes() for name, part in read.parts().items()} == {
        name: part.tobytes() for name, part in parts.items()
    }


def test_wider_vectors_are_packed_as_float16() -> None:
    assert card(content=pack_parts({"text": np.array([0.5, 0.1], "f8")})).parts()["text"].tolist() == [
        0.5,
        float(np.float16(0.1)),
    ]


def test_unknown_fields_of_a_newer_card_are_ignored() -> None:
    newer = {**msgspec.to_builtins(card()), "mood": "new"}
    assert msgspec.json.decode(msgspec.json.encode(newer), type=ItemCard) == card()


def test_a_row_survives_msgpack_and_an_older_one_is_filled_up() -> None:
    row = ItemRow(3, {1: 2}, 2, 0, popularity=[1.0], neighbours={"b": 0.5}, vector=np.ones(4, "<f2").tobytes())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=ItemRow) == row
    assert row.vector_D().tolist() == [1.0] * 4
    older = msgspec.msgpack.decode(msgspec.msgpack.encode([7, {1: 2}]), type=ItemRow)
    assert older == ItemRow(7, {1: 2})
    assert ItemRow().vector_D().shape == (0,)
