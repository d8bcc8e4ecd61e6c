"""Foreign records: what cannot be ours, whose key is none, and how often it is told of."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.checkpoints import CHECKPOINT_KEY, CheckpointRecord, record_in
from store.headers import number_in
from store.histories import Entry, UserRow
from store.items import ItemCard, ItemRow, card_in, row_in
from store.keys import partition_of
from store.log import Forgotten, forgotten_in
from store.records.foreign import (
    OFFSETS_END,
    ForeignRecordError,
    ForeignRecords,
    held_in,
    id_in,
    is_offset,
    is_time,
    owned_id_in,
)
from store.rows import LogIdentity, Position
from store.signals import Origin, Signal, SignalFrame, decode_frames, encode_frames

CARD = ItemCard(item_id="i", codebook="c", codes=[1], suffix=2, assigned_at=1.0, uploaded_at=1.0, published_at_ms=1)
ROW = ItemRow(7, {1: 2}, positives=2, popularity=[1.0] * 7, neighbours={"a": 1.0}, last_at=1.7e9)
CHECKPOINT = CheckpointRecord(checkpoint="c", parent=None, location="/c", verdict="passed", published_at=1.0)
ENTRY = Entry("e", "i", 1, 1.7e9, 1.0, None, 5, 0)
SIGNAL = Signal("i", "e", 1, 1.7e9, 1.0, None, [])


def test_numbers_that_no_log_has() -> None:
    assert is_offset(-1, 0, OFFSETS_END - 1)
    assert not is_offset(0, OFFSETS_END)
    assert not is_offset(-2)
    assert is_time(-1e300, 1.7e9)  # how far back something happened is its sender's affair
    assert not is_time(1.7e12)
    assert not is_time(math.nan)


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"\x00position", b" x", b"x" * 257])
def test_keys_that_are_no_ids(key: bytes | None) -> None:
    with pytest.raises(ForeignRecordError, match="key is no id"):
        id_in(key)


def test_a_key_in_anothers_partition() -> None:
    home = partition_of("i", 4)
    assert owned_id_in(b"i", home, 4) == "i"
    with pytest.raises(ForeignRecordError, match=f"belongs to partition {home}"):
        owned_id_in(b"i", (home + 1) % 4, 4)


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"[" * 50_000, b'"\xff"', b"null"])
def test_whatever_cannot_be_decoded_is_foreign(value: bytes) -> None:
    with pytest.raises(ForeignRecordError, match="no position"):
        held_in(value, msgspec.json.Decoder(Position).decode, "position")
    with pytest.raises(ForeignRecordError):
        card_in(value, "i")
    with pytest.raises(ForeignRecordError):
        row_in(value)
    with pytest.raises(ForeignRecordError):
        record_in(CHECKPOINT_KEY, value)


@pytest.mark.parametrize(
    "changed",
    [
        {"item_id": "j"},
        {"upload_offset": 1 << 62},
        {"codes": [1] * 100},
        {"codes": [-5]},
        {"uploaded_at": 1e18},
        {"published_at_ms": 1 << 61},
        {"content": {"text": "AAAA"}},
        {"content": {"text": "A"}},
        {"content": {"text": "AHw="}},  # infinite
        {"content": {"text": "AAAA" * 8192}},
    ],
)
def test_cards_that_no_owner_publishes(changed: dict[str, object]) -> None:
    assert card_in(msgspec.json.encode(CARD), "i") == CARD
    with pytest.raises(ForeignRecordError):
        card_in(msgspec.json.encode(msgspec.structs.replace(CARD, **changed)), "i")


@pytest.mark.parametrize(
    "changed",
    [
        {"offset": 1 << 60},
        {"positives": -3},
        {"counters": {99: 1}},
        {"counters": {1: 1 << 60}},
        {"last_at": 1e18},
        {"decayed_at": math.nan},
        {"popularity": [math.inf] * 7},
        {"popularity": []},
        {"neighbours": {"a": -1.0}},
        {"neighbours": {str(n): 1.0 for n in range(20_000)}},
        {"vector": b"odd"},
        {"vector": b"\x00\x7c"},
        {"step": math.nan},
        {"shown": [-1.0]},
    ],
)
def test_items_rows_that_no_owner_publishes(changed: dict[str, object]) -> None:
    assert row_in(msgspec.msgpack.encode(ROW)) == ROW
    with pytest.raises(ForeignRecordError):
        row_in(msgspec.msgpack.encode(msgspec.structs.replace(ROW, **changed)))


@given(st.lists(st.integers(0, 65535), max_size=8).map(lambda bits: np.array(bits, "<u2").tobytes()))
def test_a_vector_counts_only_if_all_of_its_numbers_are_finite(vector: bytes) -> None:
    foreign = bool(msgspec.structs.replace(ROW, vector=vector).fault())
    assert foreign == (not np.isfinite(np.frombuffer(vector, "<f2")).all())


def user_row_in(row: UserRow) -> UserRow:
    return held_in(msgspec.msgpack.encode(row), msgspec.msgpack.Decoder(UserRow).decode, "user's row")


@pytest.mark.parametrize(
    "changed",
    [
        {"entries": [msgspec.structs.replace(ENTRY, kind=77)]},
        {"entries": [msgspec.structs.replace(ENTRY, offset=1 << 50)]},
        {"kept": [msgspec.structs.replace(ENTRY, occurred_at=1e18)]},
        {"kept": [msgspec.structs.replace(ENTRY, value=math.inf)]},
        {"offset": 1 << 50},
        {"life": -2},
        {"profiled_at": math.nan},
        {"touched_s": 1 << 40},
        {"seen": b"odd"},
    ],
)
def test_users_rows_that_no_owner_publishes(changed: dict[str, object]) -> None:
    row = UserRow(5, [ENTRY], b"x" * 16)
    assert user_row_in(row) == row
    with pytest.raises(ForeignRecordError):
        user_row_in(msgspec.structs.replace(row, **changed))


def test_positions_that_no_owner_publishes() -> None:
    assert not Position(5, 5, logs={"engagements": LogIdentity("id", 5, 0)}, passed={0: (5, 255)}).fault()
    assert Position(1 << 50).fault()
    assert Position(passed={0: (1 << 60, 0)}).fault()
    assert Position(logs={"engagements": LogIdentity("id", 1 << 60)}).fault()


@pytest.mark.parametrize(
    "changed",
    [
        {"occurred_at": math.inf},
        {"occurred_at": math.nan},
        {"weight": math.nan},
        {"weight": 1e12},
        {"value": math.inf},
        {"kind": -1},
        {"kind": 99},
        {"item_id": ""},
        {"item_id": "i" * 257},
    ],
)
def test_signals_that_no_owner_sends(changed: dict[str, object]) -> None:
    frame = SignalFrame(0, Origin(5, 255), 1, [SIGNAL])
    assert decode_frames(encode_frames([frame])) == [frame]
    changed_frame = SignalFrame(0, Origin(5, 255), 1, [SIGNAL, msgspec.structs.replace(SIGNAL, **changed)])
    with pytest.raises(msgspec.ValidationError):
        decode_frames(encode_frames([changed_frame]))


@pytest.mark.parametrize("frame", [SignalFrame(0, Origin(1 << 60, 0), 1, []), SignalFrame(-1, Origin(5, 0), 1, [])])
def test_origins_that_no_log_has(frame: SignalFrame) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_frames(encode_frames([frame]))


@pytest.mark.parametrize("changed", [{"checkpoint": "../.."}, {"checkpoint": ""}, {"published_at": 1e300}])
def test_checkpoints_that_nobody_announces(changed: dict[str, object]) -> None:
    assert record_in(CHECKPOINT_KEY, msgspec.json.encode(CHECKPOINT)) == CHECKPOINT
    with pytest.raises(ForeignRecordError):
        record_in(CHECKPOINT_KEY, msgspec.json.encode(msgspec.structs.replace(CHECKPOINT, **changed)))
    with pytest.raises(ForeignRecordError, match="no key of checkpoints"):
        record_in(b"strange", msgspec.json.encode(CHECKPOINT))


def test_a_header_without_end_is_no_number() -> None:
    headers = [("n", None), ("n", b""), ("n", b"9" * 5000), ("n", b"12")]
    assert number_in(headers, "n", -1) == 12  # type: ignore[arg-type]  (clients may leave a header's value out)


def test_each_is_counted_and_a_flood_is_told_of_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now, counted = [0.0], []
    foreign = ForeignRecords(counted.append, lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for offset in range(100):
            foreign.met("item-states", SimpleNamespace(partition=3, offset=offset), ForeignRecordError("why"))
        now[0] = 61.0
        foreign.met("item-states", SimpleNamespace(partition=3, offset=100), ForeignRecordError("why"))
    assert counted == ["item-states"] * 101
    assert caplog.messages[0] == "foreign record on item-states-3 at offset 0 passed over: why"
    assert len(caplog.messages) == 22
    assert caplog.messages[20] == "item-states: 80 more foreign records were passed over in a minute"


def test_whole_numbers_that_no_division_takes_are_foreign_like_others() -> None:
    """JSON holds them, MessagePack does not. A card with one ended the broadcast, and with it the worker, for good."""
    endless = b"1" + b"0" * 400
    card = msgspec.json.encode(CARD)
    for name in (b'"published_at_ms":1', b'"suffix":2', b'"assigned_at":1.0'):
        assert name in card
        with pytest.raises(ForeignRecordError):
            card_in(card.replace(name, name.partition(b":")[0] + b":" + endless), "i")
    forgotten = msgspec.json.encode(Forgotten(user_id="u", offset=4, forgotten_at_ms=7)).replace(b":7", b":" + endless)
    passed: list[object] = []
    record = SimpleNamespace(key=b"u\x004", value=forgotten)
    assert forgotten_in([record], lambda _, error: passed.append(error)) == {}
    assert len(passed) == 1
