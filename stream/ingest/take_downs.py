"""Take-downs of one uploads partition: which of its items are down, and since which offset and time.

The topic `uploads` forgets a take-down a day after it (compaction), `semantic-ids` too. What may bring the item back
lasts longer: a card that a former owner still has in hand, an upload in a wrong partition that is moved once more. So
the owner of the partition remembers, on its disk and on `upload-states`.

Invariant: of two of an item the further one counts; a mark stays when the item is uploaded again, lifted by that.
"""

from __future__ import annotations

import msgspec

from store.rows import Position, RowStore
from stream.ingest.published_rows import Comparison
from stream.kafka.log_identity import further


class TakeDown(msgspec.Struct, array_like=True, frozen=True):
    """A take-down: its offset in `uploads`, and the time at which it came (epoch milliseconds). `lifted`: it was an
    upload that came after one."""

    offset: int
    came_at_ms: int
    lifted: bool = False


class TakeDowns:
    """The take-downs of a partition, and its position: a side as `PublishedRows` needs it."""

    def __init__(self, rows: RowStore[TakeDown]) -> None:
        self.rows = rows

    @property
    def position(self) -> Position:
        return self.rows.position

    def get(self, item_id: str) -> TakeDown | None:
        """The take-down of an item that is down."""
        found = self.rows.get(item_id)
        return found if found is not None and not found.lifted else None

    def note(self, item_id: str, offset: int, came_at_ms: int) -> None:
        """An item was taken down; an earlier take-down than what is known changes nothing."""
        known = self.rows.get(item_id)
        if known is None or known.offset < offset:
            self.rows.stage(item_id, TakeDown(offset, came_at_ms))

    def lift(self, item_id: str, offset: int, came_at_ms: int) -> None:
        """An item was uploaded; an upload before its take-down changes nothing."""
        known = self.rows.get(item_id)
        if known is not None and known.offset < offset:
            self.rows.stage(item_id, TakeDown(offset, came_at_ms, lifted=True))

    def compare(self, item_id: str, value: bytes | None) -> Comparison:
        if value is None:
            return Comparison(None, outdated=False)
        known, found = self.rows.get(item_id), self.rows.decode(value)
        if known is None or found.offset > known.offset:
            return Comparison(found, outdated=False)
        return Comparison(None, outdated=found.offset < known.offset)

    def take_over(self, item_id: str, row: TakeDown | None) -> None:
        if row is not None:  # no mark is ever taken away
            self.rows.stage(item_id, row)

    def write_restored(self) -> None:
        self.rows.flush()

    def meet(self, position: Position) -> None:
        """Takes over a published position where it is further than the own one."""
        own = self.position
        own.logs = further(own, position)
        own.safe, own.absorbed = max(own.safe, position.safe), max(own.absorbed, position.absorbed)
        own.cards_end = max(own.cards_end, position.cards_end)
