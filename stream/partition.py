"""A partition at work: take records from an agent, absorb them, send what they cause, publish state, acknowledge.

The numbered protocol of one partition, the same for users and items:

1. restore: rows come from the local store, brought up to date from the state topic.
2. absorb: records in order; rows and position in one write batch.
3. send: what the records cause, in order.
4. publish: changed rows to the state topic, then the position.
5. acknowledge: only what 2 to 4 have made safe; Faust commits up to there.

A crash between any two steps leads back to 1 with records read again, and reading again changes nothing.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from stream.records import Record

Fault = Callable[[str], None]
"""A hook called with the name of each boundary of the protocol; off in production, kills the process in chaos tests."""


def no_fault(boundary: str) -> None:
    """The hook that does nothing."""


class Partition(ABC):
    """One partition of one agent. `interval_s` is the least time between two publications."""

    capacity = 2000
    batch = 500

    def __init__(self, number: int, interval_s: float, fault: Fault = no_fault) -> None:
        self.number = number
        self.restored = asyncio.Event()
        self._interval_s = interval_s
        self._fault = fault
        self._inbox: deque[Record] = deque()
        self._absorbing: list[Record] = []
        self._absorbed: list[Record] = []
        self._publishing: list[Record] = []
        self._sends: list[asyncio.Future[Any]] = []
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._epoch = 0
        self._closed = False

    async def put(self, record: Record) -> None:
        """Queues one record; waits while the partition is behind, so that the agent stops reading."""
        epoch = self._epoch
        while len(self._inbox) >= self.capacity and not self._closed:
            self._room.clear()
            await self._room.wait()
        if not self._closed and epoch == self._epoch:
            self._inbox.append(record)
            self._arrived.set()

    def rewind(self) -> None:
        """Forgets what has not been acknowledged: after a rebalance the log delivers it again, from the committed
        position on, and an older delivery must not get between."""
        self._epoch += 1
        self._inbox.clear()
        self._absorbed.clear()
        self._room.set()

    async def run(self) -> None:
        """Works until cancelled; raises what goes wrong."""
        try:
            await self.restore()
            self.restored.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._absorb_loop())
                tasks.create_task(self._publish_loop())
        finally:
            self._closed = True
            self._room.set()
            self.close()

    def committed(self, topic: str) -> int:
        """The oldest offset of `topic` that may be read again."""
        for queue in (self._publishing, self._absorbed, self._absorbing, self._inbox):
            for record in queue:
                if record.topic == topic:
                    return record.offset
        return 1 << 62

    @abstractmethod
    async def restore(self) -> None:
        """Step 1."""

    @abstractmethod
    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        """Steps 2 and 3: returns the sends still under way."""

    @abstractmethod
    def publish(self) -> Awaitable[None]:
        """Step 4: takes what has changed at once, and has it safe in the state topic when awaited."""

    @abstractmethod
    def close(self) -> None:
        """Gives the rows back."""

    async def _absorb_loop(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._inbox:
                epoch = self._epoch
                self._absorbing = [self._inbox.popleft() for _ in range(min(self.batch, len(self._inbox)))]
                self._room.set()
                self._sends.extend(await self.absorb(self._absorbing))
                self._fault("absorbed")
                if epoch == self._epoch:
                    self._absorbed.extend(self._absorbing)
                self._absorbing = []
                await asyncio.sleep(0)  # a long queue must not keep the loop from answering requests

    async def _publish_loop(self) -> None:
        while True:
            await asyncio.sleep(self.pause_s())
            if self._absorbed:
                await self._publish_once()

    def pause_s(self) -> float:
        """How long to gather changes before the next publication."""
        return self._interval_s

    async def _publish_once(self) -> None:
        self._publishing, self._absorbed = self._absorbed, []
        sends, self._sends = self._sends, []
        # Taken before the first await: what is absorbed from here on belongs to the next publication.
        publication = self.publish()
        await asyncio.gather(*sends)
        self._fault("sent")
        await publication
        self._fault("published")
        for record in self._publishing:
            record.acknowledge()
        self._publishing = []
