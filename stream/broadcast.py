"""The broadcast: what every scorer knows comes from three topics that every worker reads whole.

`semantic-ids`, `item-states` and `checkpoints` are read from the beginning by every worker, in no group. The worker is
ready once it has read what was there when it started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from store.settings import Settings
from stream.states import consumer_options

Handler = Callable[[Any], None]


class Broadcast:
    """Calls a topic's handler with each of its records (aiokafka ConsumerRecord), in the order of the partition."""

    def __init__(self, settings: Settings, handlers: Mapping[str, Handler]) -> None:
        self._settings = settings
        self._handlers = {settings.topic(name): handler for name, handler in handlers.items()}
        self.caught_up = asyncio.Event()

    async def run(self) -> None:
        """Reads until cancelled."""
        consumer = AIOKafkaConsumer(**consumer_options(self._settings))
        await consumer.start()
        try:
            partitions = await self._partitions(consumer)
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            behind = await consumer.end_offsets(partitions)
            while True:
                await self._catch_up(consumer, behind)
                for where, records in (await consumer.getmany(timeout_ms=200, max_records=500)).items():
                    handler = self._handlers[where.topic]
                    for record in records:
                        handler(record)
        finally:
            await consumer.stop()

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
