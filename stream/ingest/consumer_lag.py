"""Lag: how many records of each partition the group has not committed yet, for `sidestream_consumer_lag`.

Invariant: what is shown was measured a moment ago. While no broker answers there is no lag, which alerts notice.
"""

from __future__ import annotations

import asyncio
import logging

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from store.reporting.outages import Outage
from store.security import async_client_security
from store.settings import Settings
from stream.ingest.agents import AGENTS
from stream.kafka.state_topics import consumer_options
from stream.metrics.metrics import Metrics

log = logging.getLogger(__name__)

ANSWER_S = 8.0
"""A broker that has not answered for so long is away, or stands still."""


class LagWatch:
    """Compares end offsets with the group's committed offsets every `interval_s`."""

    def __init__(self, settings: Settings, metrics: Metrics, interval_s: float = 2.0) -> None:
        self._settings = settings
        self._metrics = metrics
        self._interval_s = interval_s
        self._away = Outage(
            log,
            f"no broker answers at {settings.kafka.bootstrap_servers}",
            "requests are answered from what is known here, nothing new is absorbed, the lag is not known",
        )
        self._partitions = {
            TopicPartition(settings.topic(name), number): (name, number)
            for name in AGENTS
            for number in range(settings.kafka.partitions)
        }

    async def run(self) -> None:
        """Watches until cancelled."""
        kafka = self._settings.kafka
        consumer = AIOKafkaConsumer(**consumer_options(self._settings))
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers, **async_client_security(kafka))
        await consumer.start()
        await admin.start()
        try:
            while True:
                self._metrics.lag(await self._measured(consumer, admin))
                await asyncio.sleep(self._interval_s)
        finally:
            await consumer.stop()
            await admin.close()

    async def _measured(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> dict[tuple[str, int], int]:
        """Empty where it cannot be known; the log says when that begins and ends."""
        try:
            found = await asyncio.wait_for(self._measure(consumer, admin), ANSWER_S)
        except (KafkaError, TimeoutError) as error:
            self._away.met(repr(error))
            return {}
        self._away.over()
        return found

    async def _measure(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> dict[tuple[str, int], int]:
        ends = await consumer.end_offsets(list(self._partitions))
        committed = await admin.list_consumer_group_offsets(self._settings.kafka.group)
        begun = {where: entry.offset for where, entry in committed.items() if entry.offset >= 0}
        return {self._partitions[where]: max(0, end - begun.get(where, 0)) for where, end in ends.items()}
