"""Announced owners: which worker has which partition, as positions on `item-states` say.

Invariant: of two announcements the one that was read last counts; a partition that nobody announced has no owner.
"""

from __future__ import annotations

from typing import Any

from store.keys import partition_of
from stream.kafka.state_topics import announcement_in, generation_of
from stream.serving.reading.published_records import Owners


class AnnouncedOwners:
    """`urls`: partition → address. `owners`: the partitions of items here, which contradict who is none any more."""

    def __init__(self, partitions: int, owners: Owners) -> None:
        self.urls: dict[int, str] = {}
        self._partitions = partitions
        self._owners = owners

    def on_position(self, record: Any) -> None:
        """Reads a position (aiokafka's record). Raises `ForeignRecordError`."""
        generation = generation_of(record)
        if url := announcement_in(record.value, record.partition).url:
            self.urls[record.partition] = url
            self._owners.announced(record.partition, generation)

    def of(self, user_id: str) -> str | None:
        """The address of the worker that has this user's partition."""
        return self.urls.get(partition_of(user_id, self._partitions))
