"""Item owners: what a scorer has read, told to the partition of this worker that owns the item, if it is here.

Invariant: a partition that is not at work here is not told; its owner reads the same records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from store.items import ItemCard
from store.topics import ITEM_SIGNALS, UPLOADS
from stream.ingest.assignment import Assignment
from stream.ingest.item_partition import ItemPartition
from stream.ingest.upload_partition import UploadPartition

KEEP_EVERY_S = 1.0
MOST_WANTED = 50_000
"""Rows that scorers need of partitions that are being restored, or are on their way here."""


class ItemOwners:
    """The partitions of items at work here. `elsewhere(partition, item)` tells another worker that a row of its
    partition is needed again; False where nobody else has announced itself as its owner."""

    def __init__(
        self, assignment: Assignment, partitions: int, elsewhere: Callable[[int, str], bool] = lambda *_: False
    ) -> None:
        self._elsewhere = elsewhere
        self._assignment = assignment
        self._partitions = partitions
        self._outdated: dict[str, int] = {}
        self._wanted: dict[str, int] = {}
        self._cards: Callable[[int], Sequence[ItemCard]] = lambda _: ()
        self._reassigned: dict[int, UploadPartition] = {}

    def heal(self, number: int, item_id: str, offset: int) -> None:
        """A row of the item that is so far was read after a further one."""
        partition = self._assignment.get(ITEM_SIGNALS, number)
        if isinstance(partition, ItemPartition):
            partition.heal(item_id, offset)

    def announced(self, number: int, generation: int) -> None:
        """A worker of this generation has announced itself as the owner."""
        partition = self._assignment.get(ITEM_SIGNALS, number)
        if isinstance(partition, ItemPartition):
            partition.contradict(generation)

    def wanted(self, number: int, item_id: str) -> None:
        """A scorer needs the row of an item again: now, or when its partition is at work here, or its owner hears."""
        partition = self._assignment.get(ITEM_SIGNALS, number)
        if isinstance(partition, ItemPartition):
            partition.publish_again(item_id)
        elif len(self._wanted) < MOST_WANTED:
            self._wanted[item_id] = number

    def _want_again(self) -> None:
        wanted, self._wanted = self._wanted, {}
        for item_id, number in wanted.items():
            if self._assignment.get(ITEM_SIGNALS, number) is not None or not self._elsewhere(number, item_id):
                self.wanted(number, item_id)

    def card_read(self, number: int, item_id: str, counts: bool) -> None:
        """A card or take-down was read that counts, or one of a former owner behind what counts."""
        if counts:
            self._outdated.pop(item_id, None)
        else:
            self._outdated[item_id] = number

    async def keep_cards(self, caught_up: asyncio.Event) -> None:
        """Has what counts of an item published again where something older lies behind it, and cards of a partition
        that was not at work when the codebook changed, until cancelled."""
        await caught_up.wait()  # before, the next record may have said it already
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            outdated, self._outdated = self._outdated, {}
            for item_id, number in outdated.items():
                partition = self._assignment.get(UPLOADS, number)
                if isinstance(partition, UploadPartition):
                    await partition.contradict(item_id)
            self._want_again()
            self._reassign_due()

    def reassign(self, cards: Callable[[int], Sequence[ItemCard]]) -> None:
        """The codebook has changed: the owner of each item publishes it again under the version that serves. `cards`:
        the live items of a partition. A partition that is still being restored, or comes here later, follows then."""
        self._cards, self._reassigned = cards, {}
        self._reassign_due()

    def _reassign_due(self) -> None:
        for number in range(self._partitions):
            partition = self._assignment.get(UPLOADS, number)
            if isinstance(partition, UploadPartition) and self._reassigned.get(number) is not partition:
                self._reassigned[number] = partition
                partition.reassign(self._cards(number))
