"""The assignment: partitions start, stay and stop as the group decides, and old deliveries are dropped."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from stream.ingest.assignment import Assignment
from tests.stream.ingest.test_partition import Sample, rest


def delivery(offset: int, generation: int, partition: int = 0, timestamp: float = 1.0) -> Any:
    """What Faust hands over."""
    message = SimpleNamespace(
        topic="t", partition=partition, offset=offset, timestamp=timestamp, key=b"k", value=b"v",
        generation_id=generation,
    )  # fmt: skip
    return SimpleNamespace(message=message, ack=lambda: None)


class Workplace:
    """An assignment of sample partitions, all that were ever made, and what it failed with."""

    def __init__(self) -> None:
        self.made: list[Sample] = []
        self.failures: list[BaseException] = []
        self.assignment = Assignment({"users": self.make}, {"profiles": "users"}, self.failures.append)

    def make(self, number: int) -> Sample:
        sample = Sample()
        sample.number = number
        self.made.append(sample)
        return sample


def test_partitions_follow_the_group() -> None:
    async def scenario() -> None:
        place = Workplace()
        assignment = place.assignment
        await assignment.assign([("users", 0), ("users", 1), ("profiles", 0), ("others", 5)], 1)
        assert len(assignment) == 2
        assert not assignment.restored()
        assert assignment.get("users", 0) is None  # not restored yet
        await rest()
        assert assignment.restored()
        zero, one = sorted(place.made, key=lambda sample: sample.number)
        assert assignment.get("users", 0) is zero
        await assignment.assign([("users", 0)], 2)
        assert (zero.closed, one.closed) == (0, 1)
        assert assignment.get("users", 1) is None
        await assignment.assign([("users", 0), ("users", 1)], 3)
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
        await assignment.assign([("users", 0)], 4)
        await assignment.take("users", delivery(0, generation=4))
        await assignment.take("profiles", delivery(1, generation=4))  # hosted
        await assignment.take("users", delivery(2, generation=3))
        await assignment.take("users", delivery(2, generation=4, partition=9))
        await rest()
        assert place.made[0].absorbed == [0, 1]
        await assignment.stop()

    asyncio.run(scenario())


def test_what_stops_a_partition_is_told() -> None:
    async def scenario() -> None:
        place = Workplace()
        await place.assignment.assign([("users", 0)], 1)
        place.made[0].hold_sends = True
        await place.assignment.take("users", delivery(0, 1))
        await rest()
        place.made[0].sends[0].set_exception(ConnectionError("gone"))
        await rest()
        assert len(place.failures) == 1
        assert "gone" in repr(place.failures[0])
        await place.assignment.stop()

    asyncio.run(scenario())


@given(st.integers(0, 4_000_000_000_000))
@example(1_712_345_678_123)
def test_timestamps_come_through_exactly(timestamp_ms: int) -> None:
    """A record read past Faust, to fill a hole, has the same timestamp: what is made of it must be equal."""

    async def scenario() -> None:
        place = Workplace()
        await place.assignment.assign([("users", 0)], 1)
        seen: list[int] = []

        async def put(record: Any) -> None:
            seen.append(record.timestamp_ms)

        place.made[0].put = put  # type: ignore[method-assign]
        await place.assignment.take("users", delivery(0, 1, timestamp=timestamp_ms / 1000))
        await place.assignment.stop()
        assert seen == [timestamp_ms]

    asyncio.run(scenario())
