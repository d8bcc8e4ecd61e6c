"""The emitter: everything a worker sends, in order, and nothing after a failure.

One idempotent producer per worker, and a lane for each topic partition (`stream.kafka.emitter_lane`). The first send
that fails for good closes the emitter, with all that still waits in it: a later record that arrived where an earlier
one did not would make the reader believe it had both (rule 3 of docs/exactly-once.md). A batch that the broker has not
taken for `EXPIRES_S` has failed, too.

Invariant: of each partition, what is on the log is a prefix of what was sent.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Iterable, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from store.keys import murmur2
from store.security import async_client_security
from store.settings import Settings
from stream.kafka.emitter_lane import Batch, Header, Landed, Lane

_MAX_BYTES = 16 << 20

EXPIRES_S = 30
"""Counted in seconds that the process was awake: what was paused for long has not failed."""
STOP_S = 3.0
"""So long a stop waits for what is on its way; the log has the rest, or gets it again."""


class EmitterError(RuntimeError):
    """A record could not be sent: the worker stops, and starts again from its last committed position. Check the broker
    (reachable? disk full? too few in-sync replicas?)."""


class Emitter:
    """Sends records of one worker. All methods belong to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._failed: BaseException | None = None
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._partitions: dict[str, int] = {}
        self._ageing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka.bootstrap_servers,
            enable_idempotence=True,
            max_request_size=_MAX_BYTES,
            max_batch_size=1 << 18,
            request_timeout_ms=1000 * EXPIRES_S,
            **async_client_security(self._settings.kafka),
        )
        await self._producer.start()
        self._ageing = asyncio.create_task(self._age())

    async def stop(self) -> None:
        """Waits a moment for what is on its way. After a failure nothing more is sent."""
        if self._producer is None:
            return
        if self._failed is None:
            waits = [lane.emptied() for lane in self._lanes.values()]
            await asyncio.wait([asyncio.ensure_future(asyncio.gather(*waits))], timeout=STOP_S)
        self._close(EmitterError("the emitter was stopped"))
        if self._ageing is not None:
            self._ageing.cancel()
        try:
            await asyncio.wait_for(self._producer.stop(), STOP_S)
        except TimeoutError:
            await self._producer.client.close()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[Header] = (),
    ) -> asyncio.Future[Landed]:
        """Queues one record; the future ends when every in-sync replica has it."""
        self._ready()
        full_name = self._settings.topic(topic)
        if len(key or b"") + len(value or b"") > _MAX_BYTES:
            raise self._fail(topic, ValueError(f"a record of {len(value or b'')} bytes, more than {_MAX_BYTES}"))
        if partition is None:
            partition = await self._partition_of(full_name, key)
        return await self._lane(full_name, partition).put(key, value, int(time.time() * 1000), headers)

    async def send_rows(
        self, topic: str, partition: int, rows: Iterable[tuple[bytes, bytes | None, Sequence[Header]]]
    ) -> int:
        """Sends many keyed records to one partition and waits until they are safe. The last batch, with the last
        record in it, is sent when all others are safe. Returns the offset at which it begins (reading on from there
        misses nothing that comes later), or -1 when there was none."""
        futures = await self.queue_rows(topic, partition, rows)
        await self.settle(futures)
        return max((future.result().offset for future in futures), default=-1)

    async def queue_rows(
        self, topic: str, partition: int, rows: Iterable[tuple[bytes, bytes | None, Sequence[Header]]]
    ) -> list[asyncio.Future[Landed]]:
        """Queues many keyed records for one partition, in batches of their own: a tenth of the cost of single sends.
        The futures, one for each batch, end when every in-sync replica has it; a batch is sent when the one before it
        is safe."""
        producer = self._ready()
        futures: list[asyncio.Future[Landed]] = []
        lane = self._lane(self._settings.topic(topic), partition)
        now_ms = int(time.time() * 1000)
        batch = producer.create_batch()
        for key, value, headers in rows:
            if len(value or b"") > _MAX_BYTES:
                raise self._fail(topic, ValueError(f"a record of {len(value or b'')} bytes, more than {_MAX_BYTES}"))
            if batch.append(key=key, value=value, timestamp=now_ms, headers=list(headers)) is None:
                futures.append(await lane.put_batch(batch))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=now_ms, headers=list(headers))
        if batch.record_count():
            futures.append(await lane.put_batch(batch))
        return futures

    async def settle(self, futures: Iterable[Awaitable[Any]]) -> None:
        """Waits until every send is safe; raises `EmitterError` if one is not."""
        try:
            await asyncio.gather(*futures)
        except KafkaError as error:
            raise self._fail("records", error) from error

    def _lane(self, full_name: str, partition: int) -> Lane:
        lane = self._lanes.get((full_name, partition))
        if lane is None:
            producer = self._ready()
            sends = partial(self._give, producer, full_name, partition)
            failed = partial(self._lane_failed, f"{full_name}-{partition}")
            lane = self._lanes[full_name, partition] = Lane(producer.create_batch, sends, failed)
        return lane

    async def _give(
        self, producer: AIOKafkaProducer, full_name: str, partition: int, batch: Batch
    ) -> Awaitable[Landed]:
        sent: Awaitable[Landed] = await producer.send_batch(batch, full_name, partition=partition)
        return sent

    async def _partition_of(self, full_name: str, key: bytes | None) -> int:
        count = self._partitions.get(full_name)
        if count is None:
            try:
                count = self._partitions[full_name] = len(await self._ready().partitions_for(full_name))
            except KafkaError as error:
                raise self._fail(full_name, error) from error
        return random.randrange(count) if key is None else (murmur2(key) & 0x7FFFFFFF) % count

    async def _age(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for where, lane in self._lanes.items():
                lane.tick()
                if lane.travelling_for > EXPIRES_S:
                    self._fail("-".join(map(str, where)), TimeoutError(f"not taken within {EXPIRES_S} s"))

    def _ready(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise EmitterError("the emitter has not been started")
        if self._failed is not None:
            raise EmitterError(f"an earlier record was not sent: {self._failed!r}") from self._failed
        return self._producer

    def _fail(self, where: str, error: BaseException) -> EmitterError:
        failure = _failure(where, error)
        self._close(failure)
        return failure

    def _lane_failed(self, where: str, error: BaseException) -> None:
        self._fail(where, error)

    def _close(self, failure: EmitterError) -> None:
        self._failed = self._failed or failure
        for lane in self._lanes.values():
            lane.close(failure)


def _failure(where: str, error: BaseException) -> EmitterError:
    remedy = "see whether the broker answers, has room on its disk and enough copies in sync; a new start goes on"
    failure = EmitterError(f"could not send to {where}: {error!r}: {remedy}")
    failure.__cause__ = error
    return failure
