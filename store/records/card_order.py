"""Card order: which card or take-down of an item counts.

Cards and take-downs are written by whoever owns the item's partition, or believes it does: a codebook refresh renews
cards while the item is edited or taken down, a former owner wakes late, uploads are read again. So the order in which
they lie on `semantic-ids` says nothing. Each carries the offset of its record in `uploads`, and the further one counts.

Invariant: whatever the order of arrival, what stands in the end is the further one. Cards and take-downs of releases
that gave them no offset (-1) count in the order in which they come, and give way to those that have one.
"""

from __future__ import annotations

from collections import OrderedDict

from store.headers import UPLOAD_OFFSET, Headers, number_in

NO_OFFSET = -1


class CardOrder:
    """Remembers what was taken down, up to `kept` items; what is live is the caller's to know (`known`: the offset of
    the live card, None without one)."""

    def __init__(self, kept: int = 1_000_000) -> None:
        self._kept = kept
        self._gone: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._gone)

    def admits(self, item_id: str, offset: int, known: int | None) -> bool:
        """Whether a card counts; then its item is no longer down."""
        gone = self._gone.get(item_id)
        if gone is not None and offset <= gone and not offset == gone == NO_OFFSET:
            return False
        if known is not None and offset < known:
            return False
        self._gone.pop(item_id, None)
        return True

    def takes_down(self, item_id: str, headers: Headers, known: int | None) -> bool:
        """Whether a take-down counts; then its item is down."""
        offset = number_in(headers, UPLOAD_OFFSET, NO_OFFSET)
        if offset == NO_OFFSET:
            offset = NO_OFFSET if known is None else known
        elif known is not None and offset < known:
            return False
        self._gone[item_id] = max(offset, self._gone.get(item_id, NO_OFFSET))
        self._gone.move_to_end(item_id)
        while len(self._gone) > self._kept:
            self._gone.popitem(last=False)
        return True
