"""The assignment: which partitions this worker has, each at work in a task of its own.

Agents hand events in; the assignment finds the partition and queues the record. After every rebalance Faust reads all
its partitions again from their committed positions, so what was queued or absorbed but not acknowledged is forgotten,
and an event of an older generation is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from stream.ingest.partition import Partition
from stream.kafka.records import Record

log = logging.getLogger(__name__)

Factory = Callable[[int], Partition]


class Assignment:
    """Partitions by (agent, number). `factories` make them; `hosts` lets an agent's records go to another's partition
    (profiles belong to the user partition). `failed` is told what stops a partition."""

    def __init__(
        self, factories: dict[str, Factory], hosts: dict[str, str], failed: Callable[[BaseException], None]
    ) -> None:
        self.generation = 0
        self._factories = factories
        self._hosts = hosts
        self._failed = failed
        self._running: dict[tuple[str, int], tuple[Partition, asyncio.Task[None]]] = {}

    async def take(self, agent: str, event: Any) -> None:
        """Queues one Faust event in its partition."""
        message = event.message
        if message.generation_id != self.generation:
            return
        entry = self._running.get((self._hosts.get(agent, agent), message.partition))
        if entry is None:
            return
        await entry[0].put(
            Record(
                message.topic,
                message.partition,
                message.offset,
                round(message.timestamp * 1000),
                message.key,
                message.value,
                event.ack,
            )
        )

    async def assign(self, partitions: Iterable[tuple[str, int]], generation: int) -> None:
        """Makes (agent, number) pairs the ones at work: stops those that went, rewinds those that stay, starts the
        new."""
        wanted = {pair for pair in partitions if pair[0] in self._factories}
        await self._stop([pair for pair in self._running if pair not in wanted])
        self.generation = generation
        for pair in wanted:
            if pair in self._running:
                self._running[pair][0].rewind()
            else:
                self._start(pair)
        log.info("generation %s: %s partitions at work", generation, len(self._running))

    async def stop(self) -> None:
        await self._stop(list(self._running))

    def get(self, agent: str, number: int) -> Partition | None:
        """The partition if it is at work here and restored."""
        entry = self._running.get((agent, number))
        return entry[0] if entry is not None and entry[0].restored.is_set() else None

    def restored(self) -> bool:
        """Whether every partition at work has its rows."""
        return all(partition.restored.is_set() for partition, _ in self._running.values())

    def reached(self) -> dict[tuple[str, int], int]:
        """(full topic, number) → the offset from which the partitions at work have not read yet."""
        return {
            (topic, number): cursor.ahead
            for (_, number), (partition, _) in self._running.items()
            for topic, cursor in partition.cursors.items()
            if cursor.ahead is not None
        }

    def count(self, agent: str) -> int:
        """How many partitions of an agent are at work here."""
        return sum(name == agent for name, _ in self._running)

    def __len__(self) -> int:
        return len(self._running)

    def _start(self, pair: tuple[str, int]) -> None:
        agent, number = pair
        partition = self._factories[agent](number)
        task = asyncio.create_task(partition.run(), name=f"{agent}-{number}")
        task.add_done_callback(partial(self._ended, pair))
        self._running[pair] = (partition, task)

    async def _stop(self, pairs: list[tuple[str, int]]) -> None:
        tasks = [self._running.pop(pair)[1] for pair in pairs]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, pair: tuple[str, int], task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            assert error is not None
            log.error("partition %s-%s stopped: %r", *pair, error)
            self._failed(error)
