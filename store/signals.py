"""Signals: what the user's owner tells the item's owner about one engagement.

One engagement record causes at most one `SignalFrame` per item partition and chunk. A frame names its origin, and
origins from one engagement partition arrive in order; so the item side knows by comparison what it has absorbed. One
record on the log holds the frames of several engagement records: how they are bundled carries no meaning.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from store.events import Id, KindCode
from store.records.foreign import TIMES_END_S, Finite, Moment, Offset


class Signal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One engagement as its item needs it: what was done, when, and the user's positive items just before it.

    `kind` is a code into `store.events.KINDS`; `context` holds item ids, newest first.
    """

    item_id: Id
    event_id: str
    kind: KindCode
    occurred_at: Moment
    weight: Annotated[float, msgspec.Meta(gt=-TIMES_END_S, lt=TIMES_END_S)]
    value: Finite | None
    context: list[str]


class Origin(msgspec.Struct, array_like=True, frozen=True, order=True):
    """Where a signal frame comes from: offset of the engagement record, and the last event's index in its frame."""

    offset: Offset
    index: Offset


class SignalFrame(msgspec.Struct, array_like=True, frozen=True):
    """Signals of one engagement record for one item partition. `caused_at_ms` is the engagement record's timestamp."""

    partition: Annotated[int, msgspec.Meta(ge=0)]
    origin: Origin
    caused_at_ms: int
    signals: list[Signal]


CANARY_ORIGIN = Origin(-1, -1)
"""Of the frame that a canary causes: before every record, so that workers of earlier releases take it for passed."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[SignalFrame])


def encode_frames(frames: list[SignalFrame]) -> bytes:
    """One record's value."""
    return _encoder.encode(frames)


def decode_frames(value: bytes) -> list[SignalFrame]:
    """The frames of a record. Raises `msgspec.MsgspecError` for what no user's owner can have sent."""
    return _decoder.decode(value)
