"""Strange neighbours: transitions from items that are not in the catalogue.

The row of an item names what its users had engaged with before, and that may be anything: ids that nobody ever uploads
come without end. So a neighbour that has no card takes no place in what answers. Who names it is noted: when its card
comes, the rows that name it are asked for again, and the transition counts from then on.

Invariant: at most `kept` strangers are noted; one that had to go counts from the next publication of the rows that
name it.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_STRANGERS = 20_000
MOST_NAMED_BY = 16
"""Rows noted for a stranger: one that so many name has been in the catalogue, or will soon be published again."""


class StrangeNeighbours:
    """Strangers, the longest unnamed first, each with the items whose rows name it."""

    def __init__(self, kept: int = MOST_STRANGERS) -> None:
        self._kept = kept
        self._named_by: OrderedDict[str, dict[str, None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._named_by)

    def met(self, item_id: str) -> list[str]:
        """The card of an item has come: the items whose rows name it."""
        return list(self._named_by.pop(item_id, ()))

    def note(self, stranger: str, item_id: str) -> None:
        """The row of an item names something that has no card."""
        named_by = self._named_by.setdefault(stranger, {})
        self._named_by.move_to_end(stranger)
        if len(named_by) < MOST_NAMED_BY:
            named_by[item_id] = None
        while len(self._named_by) > self._kept:
            self._named_by.popitem(last=False)
