"""Take-downs of one uploads partition: which of its items are down, and since which offset and time.

The topic `uploads` forgets a take-down a day after it (compaction), `semantic-ids` too. What may bring the item back
lasts longer: a card that a former owner still has in hand, an upload in a wrong partition that is moved once more. So
the owner of the partition remembers, on its disk and on `upload-states`.

Invariant: of two of an item the further one counts; a mark stays when the item is uploaded again, lifted by that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from store.items import ItemCard
from store.records.foreign import held_in, is_offset, is_time_ms
from store.rows import Position, RowStore
from stream.ingest.protocol.published_rows import Comparison
from stream.kafka.log_identity import further

MOST_READ = 20_000
"""So many of the newest cards and take-downs are remembered until the broadcast has brought them back."""


class TakeDown(msgspec.Struct, array_like=True, frozen=True):
    """A take-down: its offset in `uploads`, and the time at which it came (epoch milliseconds). `lifted`: it was an
    upload that came after one."""

    offset: int
    came_at_ms: int
    lifted: bool = False

    def fault(self) -> str:
        """Why no owner can have published this; empty if one can."""
        return "" if is_offset(self.offset) and is_time_ms(self.came_at_ms) else "an offset that no log has"


class TakeDowns:
    """The take-downs of a partition, and its position: a side as `PublishedRows` needs it."""

    expiry = None

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
        known, found = self.rows.get(item_id), held_in(value, self.rows.decode, "take-down")
        if known is None or found.offset > known.offset:
            return Comparison(found, outdated=False)
        return Comparison(None, outdated=found.offset < known.offset)

    def take_over(self, item_id: str, row: TakeDown | None) -> None:
        if row is not None:  # no mark is ever taken away
            self.rows.stage(item_id, row)

    def end(self, item_id: str) -> None:
        """No mark ever expires."""

    def write_restored(self) -> None:
        self.rows.flush()

    def meet(self, position: Position) -> None:
        """Takes over a published position where it is further than the own one."""
        own = self.position
        own.logs = further(own, position)
        own.safe, own.absorbed = max(own.safe, position.safe), max(own.absorbed, position.absorbed)
        own.cards_end = max(own.cards_end, position.cards_end)


class KnownUploads:
    """The furthest that is known of each item: its card (`card`: the live one, as far as the broadcast has brought it),
    what was read lately, and its take-down. Whatever is behind that must not be published any more."""

    def __init__(self, take_downs: TakeDowns, card: Callable[[str], ItemCard | None]) -> None:
        self.take_downs = take_downs
        self.card = card
        self._read: OrderedDict[str, TakeDown] = OrderedDict()

    def read_upload(self, item_id: str, offset: int, came_at_ms: int) -> None:
        """An upload was read whose card is to be sent."""
        self._note(item_id, TakeDown(offset, came_at_ms))
        self.take_downs.lift(item_id, offset, came_at_ms)

    def read_take_down(self, item_id: str, found: TakeDown) -> None:
        """A take-down was read that is to be sent."""
        self._note(item_id, found)
        self.take_downs.note(item_id, found.offset, found.came_at_ms)

    def is_passed(self, item_id: str, offset: int) -> bool:
        """Whether something further than the upload at `offset` is known."""
        card = self.card(item_id)
        known = [found.offset for found in self._found(item_id)]
        return any(each > offset for each in known) or (card is not None and card.upload_offset > offset)

    def is_outlived(self, item_id: str, came_at_ms: int) -> bool:
        """Whether something that came later than `came_at_ms` is known. Asked of a record that was moved here from
        another partition: its offset says nothing of when it came (-1: it was not moved)."""
        if came_at_ms < 0:
            return False
        card = self.card(item_id)
        known = [found.came_at_ms for found in self._found(item_id)]
        return any(each > came_at_ms for each in known) or (card is not None and card.published_at_ms > came_at_ms)

    def _found(self, item_id: str) -> list[TakeDown]:
        found = (self.take_downs.get(item_id), self._read.get(item_id))
        return [each for each in found if each is not None]

    def _note(self, item_id: str, sent: TakeDown) -> None:
        self._read[item_id] = sent
        self._read.move_to_end(item_id)
        while len(self._read) > MOST_READ:
            self._read.popitem(last=False)
