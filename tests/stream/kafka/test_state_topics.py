"""States, broadcast and lag on a real broker: partitions are read whole, from where they are asked, to their end."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from store.rows import Position
from store.settings import Settings
from stream.ingest.consumer_lag import LagWatch
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import (
    Announcement,
    decode_announcement,
    encode_announcement,
    hole_reader,
    read_partition,
)
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from stream.serving.reading.broadcast import Broadcast
from tests.clusters import EmbeddedCluster
from tests.stream.log import settings_on

offsets = st.integers(-1, 2**60)


@given(
    st.builds(Position, offsets, offsets, st.integers(0, 2**60), st.dictionaries(offsets, st.tuples(offsets, offsets))),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_an_announcement_survives_the_record(position: Position, url: str) -> None:
    assert decode_announcement(encode_announcement(Announcement(position, url))) == Announcement(position, url)


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "st.", kafka={"group": "st"})
    create_topics(settings)
    return settings


async def send(settings: Settings, topic: str, *values: bytes | None, partition: int = 0) -> None:
    emitter = Emitter(settings)
    await emitter.start()
    await emitter.settle([await emitter.send(topic, value, key=b"k", partition=partition) for value in values])
    await emitter.stop()


def test_a_partition_is_read_from_anywhere_to_its_end(settings: Settings) -> None:
    topic = settings.topic("user-states")

    async def read(begin: int, partition: int = 1) -> list[tuple[int, bytes | None]]:
        return [(r.offset, r.value) async for r in read_partition(settings, topic, partition, begin)]

    async def scenario() -> None:
        assert await read(0) == []
        await send(settings, "user-states", *(b"%d" % n for n in range(20)), None, partition=1)
        whole = [(n, b"%d" % n) for n in range(20)] + [(20, None)]
        assert await read(0) == whole
        assert await read(15) == whole[15:]
        assert await read(21) == []
        assert await read(99) == []
        assert await read(0, partition=0) == []

    asyncio.run(scenario())


def test_a_hole_is_read_as_records_that_nobody_waits_for(settings: Settings) -> None:
    async def scenario() -> None:
        await send(settings, "profiles", b"a", None, b"c", partition=3)
        records = [record async for record in hole_reader(settings)(settings.topic("profiles"), 3, 1)]
        assert [(r.topic, r.partition, r.offset, r.key, r.value) for r in records] == [
            (settings.topic("profiles"), 3, 1, b"k", None),
            (settings.topic("profiles"), 3, 2, b"k", b"c"),
        ]
        assert all(record.timestamp_ms > 1_600_000_000_000 for record in records)
        assert [record.acknowledge() for record in records] == [None, None]

    asyncio.run(scenario())


def test_a_broadcast_gives_what_was_there_then_says_so_then_gives_the_rest(settings: Settings) -> None:
    async def scenario() -> None:
        await send(settings, "semantic-ids", b"a", b"b", None, partition=0)
        await send(settings, "semantic-ids", b"other", partition=2)
        seen: list[tuple[int, bytes | None]] = []
        models: list[bytes | None] = []
        broadcast = Broadcast(
            settings,
            {
                "semantic-ids": lambda record: seen.append((record.partition, record.value)),
                "checkpoints": lambda record: models.append(record.value),
            },
        )
        task = asyncio.create_task(broadcast.run())
        await asyncio.wait_for(broadcast.caught_up.wait(), 20)
        assert [value for partition, value in seen if partition == 0] == [b"a", b"b", None]
        assert (2, b"other") in seen
        assert models == []
        await send(settings, "checkpoints", b"m1")
        await send(settings, "semantic-ids", b"c")
        async with asyncio.timeout(20):
            while len(seen) < 5 or not models:
                await asyncio.sleep(0.02)
        assert seen[-1] == (0, b"c")
        assert models == [b"m1"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())


def test_a_handler_that_fails_stops_the_broadcast(settings: Settings) -> None:
    async def scenario() -> None:
        await send(settings, "item-states", b"a")

        def handle(record: object) -> None:
            raise ValueError("not a row")

        with pytest.raises(ValueError, match="not a row"):
            await asyncio.wait_for(Broadcast(settings, {"item-states": handle}).run(), 20)

    asyncio.run(scenario())


def test_lag_is_what_the_group_has_not_committed(settings: Settings) -> None:
    metrics = Metrics()

    def lag(topic: str, partition: int) -> float | None:
        labels = {"topic": topic, "partition": str(partition)}
        return metrics.registry.get_sample_value("sidestream_consumer_lag", labels)

    async def scenario() -> None:
        await send(settings, "engagements", *[b"{}"] * 7, partition=0)
        await send(settings, "engagements", *[b"{}"] * 3, partition=1)
        place = TopicPartition(settings.topic("engagements"), 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka.bootstrap_servers, group_id="st", enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign([place])
        await consumer.commit({place: 5})
        await consumer.stop()
        task = asyncio.create_task(LagWatch(settings, metrics, interval_s=0.05).run())
        async with asyncio.timeout(20):
            while not lag("engagements", 0):
                await asyncio.sleep(0.02)
        assert (lag("engagements", 0), lag("engagements", 1), lag("uploads", 0)) == (2.0, 3.0, 0.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
