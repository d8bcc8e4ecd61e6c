"""Known uploads: the furthest that is known of each item of an uploads partition: its card, what was read lately, and
its take-down. Whatever is behind that must not be published any more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from store.items import ItemCard
from stream.ingest.take_downs import TakeDown, TakeDowns

MOST_READ = 20_000
"""So many of the newest cards and take-downs are remembered until the broadcast has brought them back."""


class KnownUploads:
    """`card` is the live card of an item, as far as the broadcast has brought it."""

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
