"""The assignment: which partitions this worker has, each at work in a task of its own.

Agents hand events in; the assignment finds the partition and queues the record. After every rebalance Faust reads all
its partitions again from their committed positions, so what was queued or absorbed but not acknowledged is forgotten,
and an event of an older generation is dropped. Faust delivers events of the new generation while the partitions of the
old one still stop: they wait for theirs to start.

A partition that stays goes on as it is only if no generation was missed: in one that this worker had no part in,
another may have had the partition, and what is in memory here is no longer all there is. Then it starts anew.

Invariant: an event of the current generation, for a partition of this worker, reaches that partition.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from store.headers import CAME_AT, TRACEPARENT, bytes_in, number_in
from stream.ingest.protocol.partition import Partition
from stream.ingest.protocol.published_rows import LostPartitionError
from stream.kafka.log_identity import LogReplacedError, moved_keys
from stream.kafka.records import Record

log = logging.getLogger(__name__)

LOST_S = 20.0
"""A partition that another worker has written to stands still for so long at most: by then the group has decided."""

Factory = Callable[[int], Partition]


class Assignment:
    """Partitions by (agent, number). `hosts` lets an agent's records go to another's partition (profiles belong to the
    user partition). `failed` is told what stops a partition. `most`: agent → how many partitions its rows were made
    for; one beyond is not started, for keys have moved."""

    def __init__(
        self,
        hosts: Mapping[str, str],
        failed: Callable[[BaseException], None],
        lost_s: float = LOST_S,
        most: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._most = most
        self.generation = 0
        self._factories: Mapping[str, Factory] = {}
        self._hosts = hosts
        self._failed = failed
        self._has_failed = False
        self._lost_s = lost_s
        self._wanted: set[tuple[str, int]] = set()
        self._running: dict[tuple[str, int], tuple[Partition, asyncio.Task[None]]] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def take(self, agent: str, event: Any) -> None:
        """Queues one Faust event in its partition; waits for that to start."""
        message = event.message
        pair = (self._hosts.get(agent, agent), message.partition)
        while message.generation_id >= self.generation:
            if message.generation_id == self.generation:
                if pair in self._running:
                    await self._running[pair][0].put(_record_of(event))
                    return
                if pair not in self._wanted:
                    return
            await self._changed.wait()

    async def assign(
        self, partitions: Iterable[tuple[str, int]], generation: int, factories: Mapping[str, Factory]
    ) -> None:
        """Makes (agent, number) pairs the ones at work: stops those that went, rewinds those that stay, starts the new
        with the agent's factory."""
        self._factories = factories
        wanted = {pair for pair in partitions if pair[0] in factories and not self._is_beyond(*pair)}
        stay = wanted if generation == self.generation + 1 else set()
        self.generation, self._wanted = generation, wanted
        ending = [pair for pair in self._running if pair not in stay]
        for pair in wanted - set(ending):
            if pair in self._running:
                self._running[pair][0].rewind()
            else:
                self._start(pair)
        await self._stop(ending)
        for pair in wanted.intersection(ending):
            self._start(pair)
        self._tell_change()
        log.info("generation %s: %s partitions at work", generation, len(self._running))

    def _is_beyond(self, agent: str, number: int) -> bool:
        count = self._most.get(agent)
        if count is None or number < count:
            return False
        self._failed(LogReplacedError(moved_keys(agent, number + 1, count)))
        return True

    async def stop(self) -> None:
        self._wanted = set()
        for task in self._waiting:
            task.cancel()
        await self._stop(list(self._running))
        self._tell_change()

    def get(self, agent: str, number: int) -> Partition | None:
        """The partition if it is at work here and restored."""
        entry = self._running.get((agent, number))
        return entry[0] if entry is not None and entry[0].restored.is_set() else None

    def republish(self, request: str) -> None:
        """Has every partition at work here publish all of its rows again; who is asked twice says so once."""
        for partition, _ in self._running.values():
            if partition.restored.is_set() and partition.republication is not None:
                partition.republication.begin(request)

    def restored(self) -> bool:
        """Whether every partition at work has its rows."""
        return self._wanted <= self._running.keys() and all(
            partition.restored.is_set() for partition, _ in self._running.values()
        )

    def reached(self) -> dict[tuple[str, int], int]:
        """(full topic, number) → the offset from which the partitions at work have not read yet."""
        return {
            (topic, number): cursor.ahead
            for (_, number), (partition, _) in self._running.items()
            for topic, cursor in partition.cursors.items()
            if cursor.ahead is not None
        }

    def numbers(self, agent: str) -> set[int]:
        """The partitions of an agent that are at work here, with their rows."""
        return {number for name, number in self._running if name == agent and self.get(name, number) is not None}

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
        self._tell_change()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _stop(self, pairs: list[tuple[str, int]]) -> None:
        tasks = [self._running.pop(pair)[1] for pair in pairs]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, pair: tuple[str, int], task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        was_at_work = self._running.get(pair, (None, None))[1] is task
        if was_at_work:  # its rows are closed: while the worker answers, its users are answered as another worker's are
            del self._running[pair]
        if _is_lost(error):
            log.warning("partition %s-%s is lost: %r", *pair, error)
            if was_at_work:
                self._await_group(pair)
        else:
            # What stops one partition for good stops the worker, and with it, for the same reason, the others.
            log.log(logging.DEBUG if self._has_failed else logging.ERROR, "partition %s-%s stopped: %r", *pair, error)
            self._has_failed = True
            self._failed(error)

    def _await_group(self, pair: tuple[str, int]) -> None:
        """The group is about to say who has a lost partition. If it says nothing, this worker has it still."""
        waiting = asyncio.create_task(self._start_later(pair))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    async def _start_later(self, pair: tuple[str, int]) -> None:
        await asyncio.sleep(self._lost_s)
        if pair in self._wanted and pair not in self._running:
            self._start(pair)


def _is_lost(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(LostPartitionError)[1] is None
    return isinstance(error, LostPartitionError)


def _record_of(event: Any) -> Record:
    """The record of a Faust event, which gives its bytes up: it stays in memory until it is acknowledged."""
    message = event.message
    headers = getattr(message, "headers", None)
    record = Record(
        message.topic,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),
        message.key,
        message.value,
        event.ack,
        number_in(headers, CAME_AT, -1) if headers else -1,
        bytes_in(headers, TRACEPARENT) if headers else b"",
    )
    message.key = message.value = event.key = event.value = None
    return record
