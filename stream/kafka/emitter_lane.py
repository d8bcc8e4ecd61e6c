"""Emitter lane: the way of one topic partition, on which one batch travels at a time.

A producer that has taken several batches may send the second although the first has failed: the broker refuses it only
if it knows the producer. So the producer is given a batch when the one before it is safe, and none after a failure.

Invariant: the records on the log are a prefix of what was put on the lane; the last batch of a closed lane may be there
or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

Header = tuple[str, bytes]

LINGER_S = 0.002
"""So long a lane that was idle lets records gather."""
MOST_WAITING = 8
"""Batches of a lane that may wait; who wants to put more on it waits, too."""


class Landed(NamedTuple):
    """Where a record, or the first of a batch, lies; -1 if the broker had it already and no longer knows where."""

    offset: int


class Batch(Protocol):
    """A batch as the producer makes it."""

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: list[Header]
    ) -> object | None:
        """None if there is no more room."""

    def close(self) -> None: ...

    def record_count(self) -> int: ...


Sends = Callable[[Batch], Awaitable[Awaitable[Landed]]]
"""Gives the producer a batch; what it awaits is the offset."""


class _Cargo(NamedTuple):
    """A batch, and who waits for it: for a record of it (by its place), or for the whole (place 0)."""

    batch: Batch
    waiting: list[tuple[int, asyncio.Future[Landed]]]


class Lane:
    """Records and batches for one partition, in order. `failed` is called once, with what stopped the lane."""

    def __init__(self, new_batch: Callable[[], Batch], sends: Sends, failed: Callable[[BaseException], None]) -> None:
        self.travelling_for = 0
        """How often `tick` has seen the batch that is on its way."""
        self._new_batch = new_batch
        self._sends = sends
        self._failed = failed
        self._waiting: deque[_Cargo] = deque()
        self._open: _Cargo | None = None
        self._travelling: _Cargo | None = None
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._error: BaseException | None = None

    async def put(
        self, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Sequence[Header]
    ) -> asyncio.Future[Landed]:
        """Queues one record, together with others that wait."""
        await self._await_room()
        cargo = self._open
        place = self._append(cargo, key, value, timestamp_ms, headers) if cargo is not None else None
        if cargo is None or place is None:
            self._close_open()
            cargo = self._open = _Cargo(self._new_batch(), [])
            place = self._append(cargo, key, value, timestamp_ms, headers)
        assert place is not None, "an empty batch takes a record of any size"
        return self._promise(cargo, place)

    async def put_batch(self, batch: Batch) -> asyncio.Future[Landed]:
        """Queues a batch of its own, behind what waits."""
        await self._await_room()
        self._close_open()
        batch.close()
        cargo = _Cargo(batch, [])
        self._waiting.append(cargo)
        return self._promise(cargo, 0)

    def tick(self) -> None:
        """Ages the batch that is on its way."""
        if self._travelling is not None:
            self.travelling_for += 1

    async def emptied(self) -> None:
        """Waits until everything has arrived, or the lane was closed."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def close(self, error: BaseException) -> None:
        """Drops what waits, and the batch that is on its way will not be waited for: all of them fail with `error`."""
        if self._error is not None:
            return
        self._error = error
        dropped = [*([self._travelling] if self._travelling else []), *self._waiting]
        dropped += [self._open] if self._open else []
        self._waiting.clear()
        self._open = None
        for cargo in dropped:
            for _, future in cargo.waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # whoever waits gets it; who does not has lost nothing
        self._room.set()
        if self._task is not None:
            self._task.cancel()

    def _append(
        self, cargo: _Cargo, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Sequence[Header]
    ) -> int | None:
        place = cargo.batch.record_count()
        taken = cargo.batch.append(timestamp=timestamp_ms, key=key, value=value, headers=list(headers))
        return None if taken is None else place

    def _promise(self, cargo: _Cargo, place: int) -> asyncio.Future[Landed]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Landed] = loop.create_future()
        cargo.waiting.append((place, future))
        if self._task is None:
            self._task = loop.create_task(self._travel())
        return future

    def _close_open(self) -> None:
        if self._open is not None:
            self._open.batch.close()
            self._waiting.append(self._open)
            self._open = None

    async def _await_room(self) -> None:
        while self._error is None and len(self._waiting) >= MOST_WAITING:
            self._room.clear()
            await self._room.wait()
        if self._error is not None:
            raise self._error

    async def _travel(self) -> None:
        if not self._waiting:
            await asyncio.sleep(LINGER_S)
        while self._waiting or self._open is not None:
            if not self._waiting:
                self._close_open()
            self._travelling = cargo = self._waiting.popleft()
            self.travelling_for = 0
            self._room.set()
            try:
                landed = await (await self._sends(cargo.batch))
            except Exception as error:
                self._task = None
                self._failed(error)
                return
            self._travelling = None
            for place, future in cargo.waiting:
                if not future.done():
                    future.set_result(Landed(landed.offset + place if landed.offset >= 0 else -1))
        self._task = None
