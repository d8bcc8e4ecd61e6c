"""A lane on a log that fails where it is told to: what lands is a prefix of what was put, one batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.kafka.emitter_lane import MOST_WAITING, Header, Landed, Lane

ROOM = 3


class Batch:
    """Holds `ROOM` records."""

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.closed = False

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: list[Header]
    ) -> object | None:
        assert not self.closed
        if len(self.values) == ROOM:
            return None
        self.values.append(value)
        return self

    def close(self) -> None:
        self.closed = True

    def record_count(self) -> int:
        return len(self.values)


class Log:
    """Takes batches until `fails_at`; `known`: whether it can say where they lie. While `held` it answers nothing."""

    def __init__(self, fails_at: int = 1 << 30, known: bool = True) -> None:
        self.batches: list[list[bytes | None]] = []
        self.travelling = 0
        self.most = 0
        self.held = asyncio.Event()
        self.held.set()
        self._fails_at, self._known = fails_at, known

    async def __call__(self, batch: Batch) -> Awaitable[Landed]:
        assert batch.closed
        self.travelling += 1
        self.most = max(self.most, self.travelling)
        return self._land(batch)

    async def _land(self, batch: Batch) -> Landed:
        await asyncio.sleep(0)
        await self.held.wait()
        self.travelling -= 1
        if len(self.batches) == self._fails_at:
            raise ConnectionError("cut off")
        offset = sum(map(len, self.batches))
        self.batches.append(batch.values)
        return Landed(offset if self._known else -1)

    @property
    def values(self) -> list[bytes | None]:
        return [value for batch in self.batches for value in batch]


def lane_to(log: Log) -> Lane:
    def failed(error: BaseException) -> None:
        lane.close(error)

    lane = Lane(Batch, log, failed)  # type: ignore[arg-type]
    return lane


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20.0)

    asyncio.run(bounded())


async def put(lane: Lane, value: bytes) -> asyncio.Future[Landed]:
    return await lane.put(b"k", value, 0, [])


async def put_batch(lane: Lane, values: list[bytes]) -> asyncio.Future[Landed]:
    batch = Batch()
    batch.values = list(values)
    return await lane.put_batch(batch)


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 4) | st.none(), max_size=40), fails_at=st.integers(0, 8) | st.none())
def test_what_lands_is_a_prefix_and_each_knows_its_offset_or_the_error(
    sizes: list[int | None], fails_at: int | None
) -> None:
    async def scenario() -> None:
        log = Log(1 << 30 if fails_at is None else fails_at)
        lane, promised, values = lane_to(log), list[tuple[int, asyncio.Future[Landed]]](), list[bytes]()
        try:
            for size in sizes:  # None: a record; a number: a batch of its own of so many
                begin = len(values)
                mine = [b"%d" % (begin + n) for n in range(size or 1)]
                promised.append((begin, await (put(lane, mine[0]) if size is None else put_batch(lane, mine))))
                values += mine
        except ConnectionError:
            assert fails_at is not None
        await lane.emptied()
        assert log.values == values[: len(log.values)]
        assert log.most <= 1
        for begin, future in promised:
            if begin < len(log.values):
                assert future.result() == Landed(begin)
            else:
                assert isinstance(future.exception(), ConnectionError)
        assert fails_at is not None or len(log.values) == len(values)

    run(scenario)


def test_records_that_wait_travel_together() -> None:
    async def scenario() -> None:
        log = Log()
        lane = lane_to(log)
        for number in range(7):
            await put(lane, b"%d" % number)
            await asyncio.sleep(0)  # an idle lane lingers
        await lane.emptied()
        assert [len(batch) for batch in log.batches] == [3, 3, 1]

    run(scenario)


def test_a_broker_that_had_a_batch_already_may_not_know_where() -> None:
    async def scenario() -> None:
        lane = lane_to(Log(known=False))
        futures = [await put(lane, b"a"), await put(lane, b"b")]
        await lane.emptied()
        assert [future.result().offset for future in futures] == [-1, -1]

    run(scenario)


def test_who_puts_more_than_may_wait_waits_and_closing_sends_everybody_home() -> None:
    async def scenario() -> None:
        log = Log()
        log.held.clear()
        lane = lane_to(log)
        queued = [await put_batch(lane, [b"travels"])]
        await asyncio.sleep(0.01)
        queued += [await put_batch(lane, [b"waits"]) for _ in range(MOST_WAITING)]
        waiting = asyncio.create_task(put_batch(lane, [b"late"]))
        await asyncio.sleep(0)
        assert not waiting.done()
        lane.close(TimeoutError("too slow"))
        lane.close(ValueError("the second cause does not count"))
        assert all(isinstance(future.exception(), TimeoutError) for future in queued)
        with pytest.raises(TimeoutError, match="too slow"):
            await waiting
        with pytest.raises(TimeoutError, match="too slow"):
            await put(lane, b"after")
        await lane.emptied()

    run(scenario)


def test_only_what_travels_ages() -> None:
    async def scenario() -> None:
        log = Log()
        lane = lane_to(log)
        lane.tick()
        assert lane.travelling_for == 0
        log.held.clear()
        await put_batch(lane, [b"v"])
        await asyncio.sleep(0.01)
        lane.tick()
        lane.tick()
        assert lane.travelling_for == 2
        log.held.set()
        await put_batch(lane, [b"w"])
        await lane.emptied()
        assert lane.travelling_for == 0

    run(scenario)


def test_an_empty_lane_is_emptied() -> None:
    async def scenario() -> None:
        await lane_to(Log()).emptied()

    run(scenario)
