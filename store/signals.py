"""Signals: what the user's owner tells the item's owner about one engagement.

One engagement record causes at most one `SignalFrame` per item partition and chunk. A frame names its origin, and
origins from one engagement partition arrive in order; so the item side knows by comparison what it has absorbed. One
record on the log holds the frames of several engagement records: how they are bundled carries no meaning.
"""

from __future__ import annotations

import msgspec

from store.events import KINDS
from store.records.foreign import TIMES_END_S, is_offset


class Signal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One engagement as its item needs it: what was done, when, and the user's positive items just before it.

    `kind` is a code into `store.events.KINDS`; `context` holds item ids, newest first.
    """

    item_id: str
    event_id: str
    kind: int
    occurred_at: float
    weight: float
    value: float | None
    context: list[str]

    def is_possible(self) -> bool:
        """Whether a user's owner can have sent this."""
        moment_ok = self.occurred_at < TIMES_END_S and abs(self.weight) < TIMES_END_S  # never true of NaN
        return moment_ok and 0 <= self.kind < len(KINDS) and 0 < len(self.item_id) <= 256


class Origin(msgspec.Struct, array_like=True, frozen=True, order=True):
    """Where a signal frame comes from: offset of the engagement record, and the last event's index in its frame."""

    offset: int
    index: int


class SignalFrame(msgspec.Struct, array_like=True, frozen=True):
    """Signals of one engagement record for one item partition. `caused_at_ms` is the engagement record's timestamp."""

    partition: int
    origin: Origin
    caused_at_ms: int
    signals: list[Signal]

    def fault(self) -> str:
        """Why no user's owner can have sent this; empty if one can."""
        if self.partition < 0 or not is_offset(self.origin.offset, self.origin.index):
            return "an origin that no log has"
        return "" if all(map(Signal.is_possible, self.signals)) else "a signal that no engagement causes"


CANARY_ORIGIN = Origin(-1, -1)
"""Of the frame that a canary causes: before every record, so that workers of earlier releases take it for passed."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[SignalFrame])


def encode_frames(frames: list[SignalFrame]) -> bytes:
    """One record's value."""
    return _encoder.encode(frames)


def decode_frames(value: bytes) -> list[SignalFrame]:
    return _decoder.decode(value)
