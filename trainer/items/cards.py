"""Cards by handle: what makers said of items, packed out of memory, for a card is large and seldom asked for.

Invariant: a handle reads as the card that was last set, or None.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from store.files.packed_records import PackedRecords
from store.items import ItemCard

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ItemCard).decode


class Cards:
    """One writer, any readers. `folder`: where the file lies; None: in memory, packed. Reading one takes some µs."""

    def __init__(self, folder: Path | None = None) -> None:
        self._records = PackedRecords(folder)

    def __len__(self) -> int:
        """More than the greatest handle that ever had a card."""
        return len(self._records)

    def __contains__(self, handle: int) -> bool:
        return handle in self._records

    def __getitem__(self, handle: int) -> ItemCard | None:
        data = self._records.get(handle)
        return None if data is None else _decode(data)

    def __setitem__(self, handle: int, card: ItemCard | None) -> None:
        if card is None:
            self._records.remove(handle)
        else:
            self._records.put(handle, _encode(card))

    def __iter__(self) -> Iterator[ItemCard | None]:
        """By handle, each read when its turn comes."""
        return map(self.__getitem__, range(len(self)))

    def items(self) -> Iterator[tuple[int, ItemCard]]:
        """Handles that have a card, and it; what is set meanwhile may be among them."""
        return ((handle, card) for handle, card in enumerate(self) if card is not None)

    def version(self, handle: int) -> int:
        """A number that is another one after the card was set anew; -1 without a card."""
        return self._records.version(handle)

    def versions(self) -> np.ndarray:
        """By handle, a number that is another one after the card was set anew; -1 without a card."""
        return self._records.versions()
