"""The broadcast: what every scorer knows comes from three topics that every worker reads whole.

`semantic-ids`, `item-states` and `checkpoints` are read from the beginning by every worker, in no group. The worker is
ready once it has read what was there when it started. At the start cards come first: what rows say counts only for
items that have one, and of those that wait for theirs only some are kept.

Invariant: whatever lies on these topics, what comes after it is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from store.records.foreign import ForeignRecordError, ForeignRecords
from store.settings import Settings
from stream.kafka.state_topics import consumer_options

Handler = Callable[[Any], None]
BatchHandler = Callable[[Sequence[Any]], None]

GATHER_S = 0.01
"""So long records gather before they are fetched: a fetch for each single one would cost more than the records do."""
MOST_FETCHED = 2000
BATCH = 100
"""Records that a batch handler is given at once: some milliseconds."""
TURN_S = 0.004
"""So long the broadcast works without letting others of the event loop work: requests, heartbeats, partitions."""


class Broadcast:
    """Calls a topic's handler with each of its records (aiokafka ConsumerRecord), in the order of the partition; for a
    topic in `batches` with many at once, all of one partition. The topics in `later` are read once all others have been
    read to their end as of the start. A record that its handler does not take is passed over, and `foreign` told; batch
    handlers see to that themselves."""

    def __init__(
        self,
        settings: Settings,
        handlers: Mapping[str, Handler],
        batches: Mapping[str, BatchHandler] | None = None,
        later: Collection[str] = (),
        foreign: ForeignRecords | None = None,
        gather_s: float = GATHER_S,
        batch: int = BATCH,
    ) -> None:
        """`gather_s`: so long records gather before they are fetched; a `batch` handler is given so many at once."""
        self._settings = settings
        self._gather_s, self._batch = gather_s, batch
        self._later = {settings.topic(name) for name in later}
        self._names = {settings.topic(name): name for name in handlers}
        self._foreign = foreign or ForeignRecords()
        self._batches = {settings.topic(name): handler for name, handler in (batches or {}).items()}
        self._handlers = {settings.topic(name): handler for name, handler in handlers.items()}
        self.caught_up = asyncio.Event()
        self._ends: dict[tuple[str, int], int] = {}

    def is_news(self, record: Any) -> bool:
        """Whether a record came to its topic after the start: it was not there to be read again."""
        return bool(record.offset >= self._ends.get((record.topic, record.partition), 0))

    async def run(self) -> None:
        """Reads until cancelled."""
        consumer = AIOKafkaConsumer(**consumer_options(self._settings))
        await consumer.start()
        try:
            partitions = await self._partitions(consumer)
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            behind = await consumer.end_offsets(partitions)
            self._ends = {(where.topic, where.partition): end for where, end in behind.items()}
            waiting = [where for where in partitions if where.topic in self._later]
            consumer.pause(*waiting)
            while True:
                await self._catch_up(consumer, behind)
                if waiting and not behind.keys() - waiting:
                    consumer.resume(*waiting)
                    waiting = []
                fetched = await consumer.getmany(timeout_ms=200, max_records=MOST_FETCHED)
                for where, records in fetched.items():
                    await self._tell(where.topic, records)
                more = sum(map(len, fetched.values())) >= MOST_FETCHED
                await asyncio.sleep(min(GATHER_S, self._gather_s) if more else self._gather_s)
        finally:
            await consumer.stop()

    async def _tell(self, topic: str, records: Sequence[Any]) -> None:
        if topic in self._batches:
            for begin in range(0, len(records), self._batch):
                self._batches[topic](records[begin : begin + self._batch])
                await asyncio.sleep(0)
            return
        began = time.perf_counter()
        for record in records:
            self._take(topic, record)
            if time.perf_counter() - began > TURN_S:
                await asyncio.sleep(0)
                began = time.perf_counter()

    def _take(self, topic: str, record: Any) -> None:
        try:
            self._handlers[topic](record)
        except ForeignRecordError as error:
            self._foreign.met(self._names[topic], record, error)

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        partitions = []
        for topic in (*self._handlers, *self._batches):
            while not (numbers := consumer.partitions_for_topic(topic)):
                # A consumer with no subscription learns of topics only when its client is asked to track them.
                await consumer._client.force_metadata_update()
                consumer._client.add_topic(topic)
                await asyncio.sleep(0.1)
            partitions += [TopicPartition(topic, number) for number in numbers]
        return partitions

    async def _catch_up(self, consumer: AIOKafkaConsumer, behind: dict[TopicPartition, int]) -> None:
        for where in list(behind):
            if await consumer.position(where) >= behind[where]:
                del behind[where]
        if not behind:
            self.caught_up.set()
