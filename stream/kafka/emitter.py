"""The emitter: everything a worker sends, in order, and nothing after a failure.

One idempotent producer per worker. The first send that fails for good closes the emitter: a later record that arrived
where an earlier one did not would make the reader believe it had both (rule 2 of docs/exactly-once.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from store.settings import Settings

Header = tuple[str, bytes]
_MAX_BYTES = 16 << 20


class EmitterError(RuntimeError):
    """A record could not be sent: the worker stops, and starts again from its last committed position. Check the broker
    (reachable? disk full? too few in-sync replicas?)."""


class Emitter:
    """Sends records of one worker. All methods belong to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._failed: BaseException | None = None

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka.bootstrap_servers,
            enable_idempotence=True,
            linger_ms=2,
            max_request_size=_MAX_BYTES,
            max_batch_size=1 << 18,
            request_timeout_ms=30_000,
            **self._settings.kafka.client,
        )
        await self._producer.start()

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[Header] = (),
    ) -> asyncio.Future[Any]:
        """Queues one record; the future ends when every in-sync replica has it."""
        producer = self._ready()
        try:
            future: asyncio.Future[Any] = await producer.send(
                self._settings.topic(topic), value, key=key, partition=partition, headers=list(headers)
            )
        except KafkaError as error:
            raise self._fail(topic, error) from error
        return self._watched(future)

    async def send_rows(
        self, topic: str, partition: int, rows: Iterable[tuple[bytes, bytes | None, Sequence[Header]]]
    ) -> int:
        """Sends many keyed records to one partition and waits until they are safe. The last batch, with the last
        record in it, is sent when all others are safe. Returns the offset at which it begins (reading on from there
        misses nothing that comes later), or -1 when there was none."""
        futures = await self.queue_rows(topic, partition, rows, settle_before_last=True)
        await self.settle(futures)
        return max((int(future.result().offset) for future in futures), default=-1)

    async def queue_rows(
        self,
        topic: str,
        partition: int,
        rows: Iterable[tuple[bytes, bytes | None, Sequence[Header]]],
        *,
        settle_before_last: bool = False,
    ) -> list[asyncio.Future[Any]]:
        """Queues many keyed records for one partition, in batches of their own: a tenth of the cost of single sends.
        The futures, one for each batch, end when every in-sync replica has it."""
        producer = self._ready()
        futures: list[asyncio.Future[Any]] = []
        full_name = self._settings.topic(topic)
        now_ms = int(time.time() * 1000)
        batch = producer.create_batch()
        for key, value, headers in rows:
            if batch.append(key=key, value=value, timestamp=now_ms, headers=list(headers)) is None:
                if batch.record_count():
                    futures.append(self._watched(await producer.send_batch(batch, full_name, partition=partition)))
                    batch = producer.create_batch()
                if batch.append(key=key, value=value, timestamp=now_ms, headers=list(headers)) is None:
                    futures.append(await self.send(topic, value, key=key, partition=partition, headers=headers))
        if settle_before_last:
            await self.settle(futures)
        if batch.record_count():
            futures.append(self._watched(await producer.send_batch(batch, full_name, partition=partition)))
        return futures

    async def settle(self, futures: Iterable[Awaitable[Any]]) -> None:
        """Waits until every send is safe; raises `EmitterError` if one is not."""
        try:
            await asyncio.gather(*futures)
        except KafkaError as error:
            raise self._fail("records", error) from error

    def _ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise EmitterError("the emitter has not been started")
        if self._failed is not None:
            raise EmitterError(f"an earlier record was not sent: {self._failed!r}") from self._failed
        return self._producer

    def _watched(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        future.add_done_callback(self._watch)
        return future

    def _watch(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is not None:
            self._failed = self._failed or future.exception()

    def _fail(self, topic: str, error: KafkaError) -> EmitterError:
        self._failed = self._failed or error
        return EmitterError(f"could not send to {topic}: {error!r}")
