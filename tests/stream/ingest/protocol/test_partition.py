"""A partition at work: whatever Faust delivers, each offset is absorbed once and in order, and acknowledged only once
what it causes is safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.ingest.protocol.partition import Cursor, Partition
from stream.kafka.records import Record

TOPIC, END = "t", 30


class Sample(Partition):
    """Absorbs offsets into a list. The log is offsets 0 to END, without `gone` (compacted away)."""

    batch = 4
    gather_s = 0.0

    def __init__(self, begin: int | None = 0, gone: frozenset[int] = frozenset()) -> None:
        super().__init__(0, 0.0, self.read, self.note)
        self.begin, self.gone = begin, gone
        self.absorbed: list[int] = []
        self.acknowledged: list[int] = []
        self.boundaries: list[str] = []
        self.kept: list[int] = []
        self.sends: list[asyncio.Future[Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.hold_sends = self.hold_publish = False
        self.closed = 0

    def record(self, offset: int, topic: str = TOPIC) -> Record:
        return Record(topic, 0, offset, 0, None, None, lambda: self.acknowledged.append(offset))

    async def read(self, topic: str, partition: int, begin: int) -> AsyncIterator[Record]:
        for offset in range(begin, END):
            if offset not in self.gone:
                yield Record(topic, partition, offset, 0, None, None, lambda: None)

    def note(self, boundary: str) -> None:
        self.boundaries.append(boundary)

    async def restore(self) -> None:
        if self.begin is not None:
            self.cursors[TOPIC] = Cursor(self.begin, self.begin - 1)

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        assert len({record.topic for record in records}) == 1
        await self.gate.wait()
        self.absorbed += [record.offset for record in records]
        if not self.hold_sends:
            return []
        self.sends.append(asyncio.get_running_loop().create_future())
        return [self.sends[-1]]

    def publish(self) -> Coroutine[Any, Any, None]:
        return self._publish()

    async def _publish(self) -> None:
        while self.hold_publish:
            await asyncio.sleep(0)

    def keep_safe(self) -> None:
        self.kept.append(self.cursors[TOPIC].safe)

    def close(self) -> None:
        self.closed += 1


async def rest(turns: int = 60) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


deliveries = st.lists(st.integers(0, END - 1) | st.none(), max_size=40)


@settings(max_examples=150, deadline=None)
@given(deliveries, st.integers(0, 8), st.frozensets(st.integers(0, END - 2), max_size=8))
@example([9, 3, 4, 9, 10, 11], 3, frozenset())
@example([5, None, 2, 3, 4, 5, 7], 2, frozenset({6}))
def test_each_offset_is_absorbed_once_and_in_order(offsets: list[int | None], begin: int, gone: frozenset[int]) -> None:
    """Repeats, jumps, late ones and rewinds (None), over a log with compacted holes."""
    there = [offset for offset in range(begin, END) if offset not in gone]
    given = [offset for offset in offsets if offset is None or offset not in gone]

    async def scenario() -> Sample:
        partition = Sample(begin, gone)
        task = asyncio.create_task(partition.run())
        for number, offset in enumerate(given):
            if offset is None:
                partition.rewind()
            else:
                await partition.put(partition.record(offset))
            if number % 3 == 0:
                await rest(3)
        await rest()
        await stop(task)
        return partition

    partition = asyncio.run(scenario())
    assert partition.absorbed == there[: len(partition.absorbed)]
    after_rewind = given[len(given) - given[::-1].index(None) :] if None in given else given
    needed = [offset for offset in after_rewind if offset is not None and offset >= begin]
    assert set(needed) <= set(partition.absorbed)
    assert {o for o in after_rewind if o is not None} <= set(partition.acknowledged)
    assert set(partition.acknowledged) - set(range(begin)) <= set(partition.absorbed)
    assert partition.kept == sorted(partition.kept)
    assert all(safe <= max(partition.absorbed, default=begin - 1) for safe in partition.kept)


def test_nothing_is_acknowledged_before_its_sends_and_its_publication() -> None:
    async def scenario() -> None:
        partition = Sample()
        partition.hold_sends = partition.hold_publish = True
        task = asyncio.create_task(partition.run())
        await partition.put(partition.record(0))
        await rest()
        assert partition.absorbed == [0]
        assert partition.boundaries == ["absorbed"]
        partition.sends[0].set_result(None)
        await rest()
        assert partition.boundaries == ["absorbed", "sent"]
        assert partition.acknowledged == []
        partition.hold_publish = False
        await rest()
        assert partition.boundaries == ["absorbed", "sent", "published"]
        assert partition.acknowledged == [0]
        assert partition.kept == [0]
        await stop(task)
        assert partition.closed == 1

    asyncio.run(scenario())


def test_what_is_absorbed_during_a_publication_waits_for_the_next() -> None:
    async def scenario() -> None:
        partition = Sample()
        partition.hold_publish = True
        task = asyncio.create_task(partition.run())
        await partition.put(partition.record(0))
        await rest()
        partition.hold_sends = True
        await partition.put(partition.record(1))
        await rest()
        partition.hold_publish = False
        await rest()
        assert partition.absorbed == [0, 1]
        assert partition.acknowledged == [0]  # the send that 1 causes is still under way
        partition.sends[0].set_result(None)
        await rest()
        assert partition.acknowledged == [0, 1]
        await stop(task)

    asyncio.run(scenario())


@pytest.mark.filterwarnings("error")
def test_a_failed_send_stops_the_partition_and_acknowledges_nothing() -> None:
    async def scenario() -> None:
        partition = Sample()
        partition.hold_sends = True
        task = asyncio.create_task(partition.run())
        await partition.put(partition.record(0))
        await rest()
        partition.sends[0].set_exception(ConnectionError("broker gone"))
        with pytest.raises(ExceptionGroup) as raised:
            await task
        assert isinstance(raised.value.exceptions[0], ConnectionError)
        assert partition.acknowledged == []
        assert partition.closed == 1
        await asyncio.wait_for(partition.put(partition.record(1)), 1)  # who still delivers is not kept waiting

    asyncio.run(scenario())


def test_a_partition_that_is_behind_keeps_its_agent_waiting() -> None:
    async def scenario() -> None:
        partition = Sample()
        partition.capacity = 5
        partition.gate.clear()
        task = asyncio.create_task(partition.run())
        await partition.put(partition.record(0))
        await rest()  # 0 is being absorbed now
        for offset in range(1, 6):
            await partition.put(partition.record(offset))
        waiting = asyncio.create_task(partition.put(partition.record(6)))
        await rest()
        assert not waiting.done()
        partition.gate.set()
        await waiting
        await rest()
        assert partition.absorbed == list(range(7))
        await stop(task)

    asyncio.run(scenario())


def test_a_rewind_forgets_the_queue_and_who_waits_at_it() -> None:
    async def scenario() -> None:
        partition = Sample()
        partition.capacity = 2
        partition.gate.clear()
        task = asyncio.create_task(partition.run())
        await partition.put(partition.record(0))
        await rest()
        for offset in (1, 2):
            await partition.put(partition.record(offset))
        waiting = asyncio.create_task(partition.put(partition.record(3)))
        await rest()
        partition.rewind()
        await waiting
        partition.gate.set()
        await rest()
        assert partition.absorbed == [0]
        for offset in (0, 1, 2, 3):
            await partition.put(partition.record(offset))
            await rest(5)
        await rest()
        assert partition.absorbed == [0, 1, 2, 3]
        await stop(task)

    asyncio.run(scenario())


def test_a_partition_without_a_position_begins_where_it_is_told_and_goes_back_for_a_late_first() -> None:
    async def scenario() -> None:
        partition = Sample(begin=None)
        task = asyncio.create_task(partition.run())
        for offset in (10, 11, 10, 7, 8):
            await partition.put(partition.record(offset))
        await rest()
        assert partition.absorbed == [10, 11, 7, 8]  # 7 and 8 are of the partition, too
        await partition.put(partition.record(12))
        await rest()
        assert partition.absorbed == [10, 11, 7, 8, *range(9, END)]  # again, in order: that changes nothing
        await stop(task)

    asyncio.run(scenario())


def test_topics_are_absorbed_apart() -> None:
    async def scenario() -> None:
        partition = Sample()
        task = asyncio.create_task(partition.run())
        for record in (partition.record(0), partition.record(0, "other"), partition.record(1)):
            await partition.put(record)
        await rest()
        assert partition.absorbed == [0, 0, 1]
        assert partition.cursors["other"].safe == 0
        await stop(task)

    asyncio.run(scenario())


class Gathering(Sample):
    """Each record changes a row of its own; a publication takes as long as `publish_s`."""

    rate = 1.0
    publish_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0
        self.most = 0
        self.publications: list[int] = []

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        self.rows += len(records)
        self.most = max(self.most, self.rows + len(self._absorbed))
        return await super().absorb(records)

    def gathered_rows(self) -> int:
        return self.rows

    def rows_per_s(self) -> float:
        return self.rate

    def publish(self) -> Coroutine[Any, Any, None]:
        self.publications.append(self.rows)
        self.rows = 0
        return asyncio.sleep(self.publish_s)


async def pour(partition: Sample, records: int, pause_s: float = 0.0) -> None:
    for offset in range(records):
        record = partition.record(offset)
        await partition.put(record._replace(value=b"x" * 100))
        await asyncio.sleep(pause_s)


def test_a_publication_comes_however_many_rows_change() -> None:
    """A row a millisecond, where the pace allows one a second: the end must not move away as fast as time does."""

    async def scenario() -> None:
        partition = Gathering()
        partition.longest_pause_s = 0.2
        task = asyncio.create_task(partition.run())
        await pour(partition, 600, 0.001)
        await asyncio.sleep(0.5)
        assert len(partition.publications) >= 3
        assert partition.acknowledged == list(range(600))
        assert partition.kept[-1] == 599
        await stop(task)

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["rows", "records"])
def test_nothing_more_is_absorbed_than_a_publication_takes(what: str) -> None:
    """The broker is slow: rows, or records, do not pile up behind a publication that is under way."""

    async def scenario() -> None:
        partition = Gathering()
        partition.longest_pause_s = 60.0
        partition.publish_s = 0.05
        setattr(partition, f"most_{what}", 20)
        task = asyncio.create_task(partition.run())
        pouring = asyncio.create_task(pour(partition, 300))
        await pouring
        async with asyncio.timeout(20):
            while len(partition.acknowledged) < 280:
                await asyncio.sleep(0.01)
        assert max(partition.publications) <= 20 + partition.batch
        assert partition.most <= 2 * (20 + partition.batch)
        assert partition.absorbed == list(range(300))
        await stop(task)

    asyncio.run(scenario())


def test_what_waits_to_be_acknowledged_has_no_bytes() -> None:
    async def scenario() -> None:
        partition = Gathering()
        partition.longest_pause_s = partition.rate = 60.0
        partition.hold_publish = True
        task = asyncio.create_task(partition.run())
        await pour(partition, 5)
        await partition.put(partition.record(2)._replace(value=b"again"))  # not absorbed, only acknowledged
        await rest()
        assert [record.offset for record in partition._absorbed] == [0, 1, 2, 3, 4, 2]
        assert {record.value for record in partition._absorbed} == {b""}
        await stop(task)

    asyncio.run(scenario())


def test_a_partition_with_nothing_to_publish_says_where_it_stands_now_and_then() -> None:
    async def scenario() -> None:
        partition = Gathering()
        partition.beat_s = 0.1
        task = asyncio.create_task(partition.run())
        await asyncio.sleep(0.5)
        assert 2 <= len(partition.publications) <= 5
        await stop(task)

    asyncio.run(scenario())
