"""Published records: what a scorer takes from the topics that it reads whole, checked before anything is changed by it.

A foreign record under an item's key may be all that compaction leaves of the item, so its owner is told: it publishes
what counts once more.

Invariant: what is returned is an owner's, as far as that can be told; a record that is not leaves everything as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol

import msgspec

from store.items import ItemCard, ItemRow, RowOffset, card_in, row_in
from store.keys import partition_of
from store.log import LogRecord
from store.records.foreign import UNREADABLE, ForeignRecordError, ForeignRecords
from store.topics import ITEM_STATES
from stream.kafka.state_topics import POSITION_KEY, generation_of
from trainer.model_bundle import ModelBundle

log = logging.getLogger(__name__)

_offsets = msgspec.msgpack.Decoder(RowOffset)


class Owners(Protocol):
    """The partitions of items that are at work here, as far as a scorer tells them of what it read."""

    def heal(self, number: int, item_id: str, offset: int) -> None:
        """A row that is so far was read after a further one: the owner can contradict what a former owner writes."""

    def announced(self, number: int, generation: int) -> None:
        """A worker of this generation has announced itself as the owner of a partition."""

    def wanted(self, number: int, item_id: str) -> None:
        """The row of an item is needed that was passed over while the item had no card."""

    def card_read(self, number: int, item_id: str, counts: bool) -> None:
        """A card or take-down was read; if it does not count, it is of a former owner: something further is known."""

    def reassign(self, cards: Callable[[int], Sequence[ItemCard]]) -> None:
        """The codebook has changed; `cards`: the live items of a partition."""


class PublishedRecords:
    """Reads cards and rows. `bundles`: those that a card must fit; `windows`: half-lives of popularity."""

    def __init__(
        self, partitions: int, owners: Owners, bundles: Callable[[], Sequence[ModelBundle]], windows: int
    ) -> None:
        self._partitions = partitions
        self._owners = owners
        self._bundles = bundles
        self._windows = windows

    def card(self, record: Any, item_id: str) -> ItemCard:
        """The card in a record. Raises `ForeignRecordError`."""
        try:
            card = card_in(record.value, item_id)
            if not all(bundle.takes(card) for bundle in self._bundles()):
                raise ForeignRecordError(f"codes that the codebook {card.codebook} has not: {card.codes}")
        except ForeignRecordError:
            self._want_card(record.partition, item_id)
            raise
        return card

    @contextmanager
    def taking(self, record: Any, item_id: str, undo: Callable[[], None]) -> Iterator[None]:
        """A card is taken, or what was done until that failed is undone: every worker would stop at it for ever."""
        try:
            yield
        except Exception as error:
            log.exception("the card of %s cannot be taken", item_id)
            undo()
            self._want_card(record.partition, item_id)
            raise ForeignRecordError(f"a card that cannot be taken: {error!r}") from error

    def row(self, record: Any, item_id: str) -> ItemRow:
        """The row in a record. Raises `ForeignRecordError`."""
        try:
            generation_of(record)
            row = row_in(record.value)
            if len(row.popularity) not in (0, self._windows) or len(row.shown) not in (0, self._windows):
                raise ForeignRecordError("a row with other half-lives than ours")
        except ForeignRecordError:
            if self._is_home(record.partition, item_id):
                self._owners.wanted(record.partition, item_id)
            raise
        return row

    def _want_card(self, partition: int, item_id: str) -> None:
        if self._is_home(partition, item_id):
            self._owners.card_read(partition, item_id, counts=False)

    def _is_home(self, partition: int, item_id: str) -> bool:
        return partition_of(item_id, self._partitions) == partition


def by_item(records: Iterable[Any]) -> tuple[list[Any], dict[bytes, list[Any]]]:
    """The positions among some records of `item-states`, and the records of each item by its key, in their order."""
    positions: list[Any] = []
    copies: dict[bytes, list[Any]] = {}
    for record in records:
        if record.key == POSITION_KEY:
            positions.append(record)
        else:
            copies.setdefault(record.key, []).append(record)
    return positions, copies


def passing_over(foreign: ForeignRecords, take: Callable[[Any], Any], record: Any) -> Any:
    """What `take` makes of a record of `item-states`; None of a foreign one, which is told of."""
    try:
        return take(record)
    except ForeignRecordError as error:
        foreign.met(ITEM_STATES, record, error)
    return None


def row_offset_in(record: Any) -> int:
    """How far the row in a record is. Raises `ForeignRecordError`."""
    generation_of(record)
    try:
        return _offsets.decode(record.value).offset
    except UNREADABLE as error:
        raise ForeignRecordError(f"no item's row: {error}") from None


def refuse(_: LogRecord, error: ForeignRecordError) -> NoReturn:
    """Does not pass over."""
    raise error
