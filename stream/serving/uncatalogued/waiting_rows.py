"""Waiting rows: what behaviour says of items that nobody has uploaded.

Ids that were never uploaded come from crawlers and from faults, without end. They can be recommended to nobody, so they
take no place in what answers: their newest row waits here as it was read, until the item's card comes.

Invariant: at most `kept` rows of `kept_bytes` wait; of one that had to go, the owner publishes the row again when the
card has come.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from store.items import ItemRow, RowOffset

MOST_WAITING = 20_000
MOST_BYTES = 4 << 20

_row = msgspec.msgpack.Decoder(ItemRow)
_offset = msgspec.msgpack.Decoder(RowOffset)


class WaitingRows:
    """Encoded rows by item, the longest untouched first. `dropped` counts those that had to go."""

    def __init__(self, kept: int = MOST_WAITING, kept_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._kept, self._kept_bytes = kept, kept_bytes
        self._bytes = 0
        self._rows: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, item_id: str, value: bytes) -> None:
        self.drop(item_id)
        self._rows[item_id] = value
        self._bytes += len(value)
        while len(self._rows) > self._kept or self._bytes > self._kept_bytes:
            self._bytes -= len(self._rows.popitem(last=False)[1])
            self.dropped += 1

    def take(self, item_id: str) -> ItemRow | None:
        """The row of an item whose card has come."""
        value = self.take_encoded(item_id)
        return None if value is None else _row.decode(value)

    def take_encoded(self, item_id: str) -> bytes | None:
        """The same as it was put here."""
        value = self._rows.get(item_id)
        self.drop(item_id)
        return value

    def drop(self, item_id: str) -> None:
        """Forgets the row of an item."""
        self._bytes -= len(self._rows.pop(item_id, b""))

    def get(self, item_id: str) -> ItemRow | None:
        value = self._rows.get(item_id)
        return None if value is None else _row.decode(value)

    def offset(self, item_id: str) -> int:
        """How far the waiting row is, -1 without one."""
        value = self._rows.get(item_id)
        return -1 if value is None else _offset.decode(value).offset
