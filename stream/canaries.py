"""The canaries of a worker: for each partition of `uploads` and `engagements` that is at work here, one every
`freshness.canary_s`.

So each partition has one publisher, wherever its owner is, and none while nobody owns it, which is what its age is to
show. They travel by a producer of their own: what a canary meets (no right to write, no broker) stops no worker.

Invariant: of each partition one canary is on its way at most, so nothing gathers while no broker answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from store.records.canaries import canary_id, engagement_canary, upload_canary
from store.reporting.outages import Outage
from store.security import async_client_security
from store.settings import Settings
from store.topics import ENGAGEMENTS, UPLOADS
from stream.metrics.canary_ages import OWNED_STAGES, SHARED_STAGES
from stream.metrics.metrics import Metrics

log = logging.getLogger(__name__)

MAKERS = {UPLOADS: upload_canary, ENGAGEMENTS: engagement_canary}

LOOK_S = 0.25
"""So often it looks which partitions are at work here, and which of them are due."""
ANSWER_S = 10.0
"""A broker that has not taken a canary for so long is away."""
REFUSED_PAUSE_S = 60.0
"""So long it waits after a broker has refused one for want of a right."""

Where = tuple[str, int]
"""Topic and partition."""


def expect_everywhere(settings: Settings, metrics: Metrics) -> None:
    """A worker that answers sees the canaries of every partition, whoever owns it."""
    if settings.freshness.canary_s > 0.0:
        for stage in SHARED_STAGES:
            metrics.canaries.watch(stage, range(settings.kafka.partitions))


class Canaries:
    """Publishes them and says which of its partitions are expected. `at_work`: the partitions of an agent that are at
    work here."""

    def __init__(self, settings: Settings, metrics: Metrics, at_work: Callable[[str], set[int]]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._at_work = at_work
        self._interval_s = settings.freshness.canary_s
        self._due_at: dict[Where, float] = {}
        self._sending: dict[Where, asyncio.Task[None]] = {}
        self._away = {
            topic: Outage(log, f"no canary travels on {topic}", "its freshness is not known") for topic in MAKERS
        }

    async def run(self) -> None:
        """Publishes until cancelled; at once returns where no canary is wanted."""
        if self._interval_s <= 0.0:
            return
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka.bootstrap_servers,
            request_timeout_ms=int(1000 * ANSWER_S),
            **async_client_security(self._settings.kafka),
        )
        await self._started(producer)
        try:
            while True:
                self._look(producer)
                await asyncio.sleep(LOOK_S)
        finally:
            for task in self._sending.values():
                task.cancel()
            with suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(producer.stop(), 1.0)

    async def _started(self, producer: AIOKafkaProducer) -> None:
        while True:
            try:
                await producer.start()
                return
            except KafkaError as error:
                for topic in MAKERS:
                    self._failed(topic, error)
                await asyncio.sleep(self._interval_s)

    def _look(self, producer: AIOKafkaProducer) -> None:
        """Sends what is due; a partition that has just come here is."""
        now, wanted = time.monotonic(), set[Where]()
        for topic, stage in OWNED_STAGES.items():
            numbers = self._at_work(topic)
            self._metrics.canaries.watch(stage, numbers)
            wanted |= {(topic, number) for number in numbers}
        self._due_at = {where: self._due_at.get(where, now) for where in wanted}
        for where, due_at in self._due_at.items():
            if due_at <= now and where not in self._sending:
                self._due_at[where] = max(now, due_at + self._interval_s)
                task = self._sending[where] = asyncio.create_task(self._send(producer, *where))
                task.add_done_callback(partial(self._landed, where))

    def _landed(self, where: Where, _: asyncio.Task[None]) -> None:
        del self._sending[where]

    async def _send(self, producer: AIOKafkaProducer, topic: str, number: int) -> None:
        count = self._settings.kafka.partitions
        value, key = MAKERS[topic](number, count, time.time()), canary_id(number, count).encode()
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                await producer.send_and_wait(self._settings.topic(topic), value, key=key, partition=number)
        except Exception as error:  # whatever it is: a canary stops no worker
            self._failed(topic, error)
            if isinstance(error, TopicAuthorizationFailedError):
                await asyncio.sleep(REFUSED_PAUSE_S)
        else:
            self._sent(topic)

    def _failed(self, topic: str, error: BaseException) -> None:
        self._metrics.canary(topic, "failed")
        refused = isinstance(error, TopicAuthorizationFailedError)
        self._away[topic].met("this user may not write there (docs/security.md)" if refused else repr(error))

    def _sent(self, topic: str) -> None:
        self._metrics.canary(topic, "sent")
        self._away[topic].over()
