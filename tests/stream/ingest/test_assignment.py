"""The assignment: partitions start, stay and stop as the group decides, and old deliveries are dropped."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.ingest.assignment import Assignment
from stream.ingest.protocol.published_rows import LostPartitionError
from stream.kafka.log_identity import LogReplacedError
from tests.stream.ingest.protocol.test_partition import Sample, rest


def delivery(offset: int, generation: int, partition: int = 0, timestamp: float = 1.0) -> Any:
    """What Faust hands over."""
    message = SimpleNamespace(
        topic="t", partition=partition, offset=offset, timestamp=timestamp, key=b"k", value=b"v",
        generation_id=generation, headers=None,
    )  # fmt: skip
    return SimpleNamespace(message=message, ack=lambda: None)


class Workplace:
    """An assignment of sample partitions, all that were ever made, and what it failed with."""

    def __init__(self, lost_s: float = 60.0) -> None:
        self.made: list[Sample] = []
        self.failures: list[BaseException] = []
        self.kinds: dict[int, type[Sample]] = {}
        self.assignment = Assignment({"profiles": "users"}, self.failures.append, lost_s)

    async def assign(self, partitions: list[tuple[str, int]], generation: int) -> None:
        await self.assignment.assign(partitions, generation, {"users": self.make})

    def make(self, number: int) -> Sample:
        sample = self.kinds.get(number, Sample)()
        sample.number = number
        self.made.append(sample)
        return sample


def test_partitions_follow_the_group() -> None:
    async def scenario() -> None:
        place = Workplace()
        assignment = place.assignment
        await place.assign([("users", 0), ("users", 1), ("profiles", 0), ("others", 5)], 1)
        assert len(assignment) == 2
        assert not assignment.restored()
        assert assignment.get("users", 0) is None  # not restored yet
        await rest()
        assert assignment.restored()
        zero, one = sorted(place.made, key=lambda sample: sample.number)
        assert assignment.get("users", 0) is zero
        await place.assign([("users", 0)], 2)
        assert (zero.closed, one.closed) == (0, 1)
        assert assignment.get("users", 1) is None
        await place.assign([("users", 0), ("users", 1)], 3)
        await rest()
        assert len(place.made) == 3
        assert assignment.get("users", 0) is zero
        await assignment.stop()
        assert [sample.closed for sample in place.made] == [1, 1, 1]
        assert len(assignment) == 0
        assert place.failures == []

    asyncio.run(scenario())


def test_records_reach_their_partition_and_old_generations_do_not() -> None:
    async def scenario() -> None:
        place = Workplace()
        assignment = place.assignment
        await assignment.take("users", delivery(0, generation=0))  # before any assignment
        await place.assign([("users", 0)], 4)
        await assignment.take("users", delivery(0, generation=4))
        await assignment.take("profiles", delivery(1, generation=4))  # hosted
        await assignment.take("users", delivery(2, generation=3))
        await assignment.take("users", delivery(2, generation=4, partition=9))
        await rest()
        assert place.made[0].absorbed == [0, 1]
        await assignment.stop()

    asyncio.run(scenario())


class Slow(Sample):
    """A partition whose restoring takes long to stop: its consumer is closed."""

    async def restore(self) -> None:
        await super().restore()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)


def test_what_is_delivered_while_others_stop_is_absorbed() -> None:
    """By a partition that stays and by one that is new; each event once, in order."""

    async def scenario() -> None:
        place = Workplace()
        place.kinds[1] = Slow
        assignment = place.assignment
        await place.assign([("users", 0), ("users", 1)], 1)
        await rest()
        rebalance = asyncio.create_task(place.assign([("users", 0), ("users", 2)], 2))
        await rest()
        assert not rebalance.done()
        for offset in range(3):
            await assignment.take("users", delivery(offset, 2))
            await assignment.take("users", delivery(offset, 2, partition=2))
        await rebalance
        await rest()
        absorbed = {sample.number: sample.absorbed for sample in place.made}
        assert absorbed == {0: [0, 1, 2], 1: [], 2: [0, 1, 2]}
        await assignment.stop()

    asyncio.run(scenario())


def test_what_comes_before_its_generation_is_assigned_waits_for_it() -> None:
    """Faust's flow resumes on its own: it may be quicker than the signal."""

    async def scenario() -> None:
        place = Workplace()
        early = [asyncio.create_task(place.assignment.take("users", delivery(n, 5))) for n in range(2)]
        overtaken = asyncio.create_task(place.assignment.take("users", delivery(9, 4)))
        await rest()
        assert not any(task.done() for task in (*early, overtaken))
        await place.assign([("users", 0)], 5)
        await asyncio.gather(*early, overtaken)
        await rest()
        assert place.made[0].absorbed == [0, 1]
        await place.assignment.stop()

    asyncio.run(scenario())


def test_a_partition_that_another_may_have_had_meanwhile_starts_anew() -> None:
    """A worker that was paused past its session misses a generation. Its events wait until the old partition is closed
    (its rows are locked until then)."""

    async def scenario() -> None:
        place = Workplace()
        assignment = place.assignment
        await place.assign([("users", 0)], 1)
        await rest()
        await place.assign([("users", 0)], 2)
        assert len(place.made) == 1
        place.made[0].gate.clear()
        await assignment.take("users", delivery(0, 2))
        await rest()
        rebalance = asyncio.create_task(place.assign([("users", 0)], 4))
        await asyncio.sleep(0)
        taken = asyncio.create_task(assignment.take("users", delivery(0, 4)))
        await asyncio.gather(rebalance, taken)
        await rest()
        old, new = place.made
        assert (old.closed, old.absorbed) == (1, [])
        assert (new.closed, new.absorbed) == (0, [0])
        await assignment.stop()

    asyncio.run(scenario())


class Losing(Sample):
    async def absorb(self, records: Any) -> Any:
        raise LostPartitionError("another has written")


@pytest.mark.parametrize("reassigned", [True, False])
def test_a_lost_partition_stands_still_until_the_group_has_decided(reassigned: bool) -> None:
    """It ends without the worker. If the group says nothing, it starts again; nothing that came is dropped."""

    async def scenario() -> None:
        place = Workplace(lost_s=0.1 if not reassigned else 60.0)
        assignment = place.assignment
        place.kinds[0] = Losing
        await place.assign([("users", 0)], 1)
        await assignment.take("users", delivery(0, 1))
        await rest()
        assert assignment.get("users", 0) is None
        assert not assignment.restored()
        place.kinds[0] = Sample
        generation = 2 if reassigned else 1
        waiting = asyncio.create_task(assignment.take("users", delivery(0, generation)))
        await rest()
        assert not waiting.done()
        if reassigned:
            await place.assign([("users", 0)], 2)
        await asyncio.wait_for(waiting, 5)
        await rest()
        assert place.made[1].absorbed == [0]
        assert assignment.restored()
        assert place.failures == []
        await assignment.stop()

    asyncio.run(scenario())


def test_an_event_gives_its_bytes_up() -> None:
    """Faust keeps it until it is acknowledged, which may be seconds later."""

    async def scenario() -> None:
        place = Workplace()
        await place.assign([("users", 0)], 1)
        event = delivery(0, 1)
        await place.assignment.take("users", event)
        assert event.message.value is None
        await place.assignment.stop()

    asyncio.run(scenario())


def test_what_stops_a_partition_is_told_and_nobody_is_answered_from_it() -> None:
    async def scenario() -> None:
        place = Workplace()
        await place.assign([("users", 0)], 1)
        place.made[0].hold_sends = True
        await place.assignment.take("users", delivery(0, 1))
        await rest()
        place.made[0].sends[0].set_exception(ConnectionError("gone"))
        await rest()
        assert len(place.failures) == 1
        assert "gone" in repr(place.failures[0])
        assert place.assignment.get("users", 0) is None, "its stores are closed: nobody must be answered from them"
        await place.assignment.stop()

    asyncio.run(scenario())


@given(st.integers(0, 4_000_000_000_000))
@example(1_712_345_678_123)
def test_timestamps_come_through_exactly(timestamp_ms: int) -> None:
    """A record read past Faust, to fill a hole, has the same timestamp: what is made of it must be equal."""

    async def scenario() -> None:
        place = Workplace()
        await place.assign([("users", 0)], 1)
        seen: list[int] = []

        async def put(record: Any) -> None:
            seen.append(record.timestamp_ms)

        place.made[0].put = put  # type: ignore[method-assign]
        await place.assignment.take("users", delivery(0, 1, timestamp=timestamp_ms / 1000))
        await place.assignment.stop()
        assert seen == [timestamp_ms]

    asyncio.run(scenario())


def test_a_partition_beyond_those_that_rows_were_made_for_is_not_started_and_ends_the_worker() -> None:
    """Its keys lie elsewhere: what it reads would be moved, and come back to it, without end."""

    async def scenario() -> None:
        failures: list[BaseException] = []
        started: list[int] = []

        def make(number: int) -> Sample:
            started.append(number)
            raise AssertionError("not to be started")

        assignment = Assignment({}, failures.append, most={"users": 2})
        await assignment.assign([("users", 2)], 1, {"users": make})
        assert started == []
        assert len(failures) == 1
        assert isinstance(failures[0], LogReplacedError)
        assert "users has 3 partitions, and rows lie where 2 put them" in str(failures[0])
        await assignment.stop()

    asyncio.run(scenario())
