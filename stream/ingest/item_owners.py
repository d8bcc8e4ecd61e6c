"""Item owners: what a scorer has read, told to the partition of this worker that owns the item, if it is here.

Invariant: a partition that is not at work here is not told; its owner reads the same records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from store.items import ItemCard, ItemRow
from store.topics import ITEM_SIGNALS, UPLOADS
from stream.ingest.assignment import Assignment
from stream.ingest.item_partition import ItemPartition
from stream.ingest.upload_partition import UploadPartition


class ItemOwners:
    """The partitions of items at work here."""

    def __init__(self, assignment: Assignment, partitions: int) -> None:
        self._assignment = assignment
        self._partitions = partitions

    def heal(self, number: int, item_id: str, row: ItemRow) -> None:
        """An older row of the item was read after a further one."""
        partition = self._assignment.get(ITEM_SIGNALS, number)
        if isinstance(partition, ItemPartition):
            partition.heal(item_id, row)

    def announced(self, number: int, generation: int) -> None:
        """A worker of this generation has announced itself as the owner."""
        partition = self._assignment.get(ITEM_SIGNALS, number)
        if isinstance(partition, ItemPartition):
            partition.contradict(generation)

    def reassign(self, cards: Callable[[int], Sequence[ItemCard]]) -> None:
        """The codebook has changed: the owner of each item publishes it again under the version that serves. `cards`:
        the live items of a partition."""
        for number in range(self._partitions):
            partition = self._assignment.get(UPLOADS, number)
            if isinstance(partition, UploadPartition):
                partition.reassign(cards(number))
