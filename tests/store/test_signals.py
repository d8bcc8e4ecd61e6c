"""Signals: what is encoded reads back equal, what is no frame is said, origins compare as the log goes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import KINDS
from store.records.foreign import OFFSETS_END
from store.signals import Origin, Signal, SignalFrame, decode_frames, encode_frames

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
numbers = st.floats(-1e9, 1e9)
signals = st.builds(
    Signal,
    item_id=text.filter(bool),
    event_id=text,
    kind=st.integers(0, len(KINDS) - 1),
    occurred_at=numbers,
    weight=numbers,
    value=st.none() | numbers,
    context=st.lists(text, max_size=4),
)
origins = st.builds(Origin, st.integers(0, OFFSETS_END - 1), st.integers(0, 2**31))
frames = st.builds(SignalFrame, st.integers(0, 999), origins, st.integers(0, 2**42), st.lists(signals, max_size=4))


bundles = st.lists(frames, min_size=1, max_size=3)


@given(bundles)
def test_frames_read_back_equal(bundle: list[SignalFrame]) -> None:
    assert decode_frames(encode_frames(bundle)) == bundle


@given(st.binary(max_size=40) | bundles.map(encode_frames).map(lambda value: value[:-1]))
def test_what_is_no_frame_is_an_error_of_one_kind(value: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError)):
        decode_frames(value)


@given(origins, origins)
def test_origins_are_ordered_by_offset_then_index(one: Origin, other: Origin) -> None:
    assert (one < other) == ((one.offset, one.index) < (other.offset, other.index))
