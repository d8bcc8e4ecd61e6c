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
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from store.records.foreign import ForeignRecordError, ForeignRecords
from store.settings import Settings
from stream.kafka.state_topics import consumer_options

Handler = Callable[[Any], None]

GATHER_S = 0.01
"""So long records gather before they are fetched: a fetch for each single one would cost more than the records do."""
TURN_S = 0.004
"""So long the broadcast works without letting others of the event loop work: requests, heartbeats, partitions."""


class Broadcast:
    """Calls a topic's handler with each of its records (aiokafka ConsumerRecord), in the order of the partition. Where
    several records of a key have arrived and the topic is in `superseded`, that handler is told of all but the newest.
    The topics in `later` are read once all others have been read to their end as of the start.
    A record that its handler does not take is passed over, and `foreign` told; what came before it is the newest then.
    """

    def __init__(
        self,
        settings: Settings,
        handlers: Mapping[str, Handler],
        superseded: Mapping[str, Handler] | None = None,
        later: Collection[str] = (),
        foreign: ForeignRecords | None = None,
    ) -> None:
        self._settings = settings
        self._later = {settings.topic(name) for name in later}
        self._names = {settings.topic(name): name for name in handlers}
        self._foreign = foreign or ForeignRecords()
        self._superseded = {settings.topic(name): handler for name, handler in (superseded or {}).items()}
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
                for where, records in (await consumer.getmany(timeout_ms=200, max_records=2000)).items():
                    await self._tell(where.topic, records)
                await asyncio.sleep(GATHER_S)
        finally:
            await consumer.stop()

    async def _tell(self, topic: str, records: Sequence[Any]) -> None:
        handler, passed_over = self._handlers[topic], self._superseded.get(topic)
        newest = {record.key: record.offset for record in records} if passed_over else {}
        began = time.perf_counter()
        for record in records:
            if passed_over and record.offset < newest[record.key]:
                self._takes(passed_over, record)
            elif not self._takes(handler, record) and passed_over:
                self._fall_back(handler, record, records)
            if time.perf_counter() - began > TURN_S:
                await asyncio.sleep(0)
                began = time.perf_counter()

    def _takes(self, handler: Handler, record: Any) -> bool:
        try:
            handler(record)
        except ForeignRecordError as error:
            self._foreign.met(self._names[record.topic], record, error)
            return False
        return True

    @staticmethod
    def _fall_back(handler: Handler, foreign: Any, records: Sequence[Any]) -> None:
        """The newest record of the key that is taken."""
        for record in reversed(records):
            if record.key == foreign.key and record.offset < foreign.offset:
                with suppress(ForeignRecordError):
                    handler(record)
                    return

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        partitions = []
        for topic in self._handlers:
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
