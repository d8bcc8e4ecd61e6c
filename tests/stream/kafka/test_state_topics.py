"""State topics on a real broker: partitions are read whole, from where they are asked, to their end."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.rows import Position
from store.settings import Settings
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import (
    Announcement,
    decode_announcement,
    encode_announcement,
    hole_reader,
    read_partition,
)
from stream.kafka.topics import create_topics
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
