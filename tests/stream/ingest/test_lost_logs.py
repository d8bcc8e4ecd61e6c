"""Topics that are created anew, cut, or lost under a system that has read them, on real brokers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from store.envelopes.reading import EventReader
from store.histories import UserRow
from store.items import ItemRow
from store.rows import RowStore
from store.settings import Settings
from stream.ingest.item_partition import ItemPartition
from stream.ingest.item_side import ItemSide
from stream.ingest.protocol.partition import Partition
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.user_partition import UserPartition
from stream.ingest.user_side import UserSide
from stream.kafka.connections import admin_client
from stream.kafka.dead_letters import read_letters
from stream.kafka.emitter import Emitter
from stream.kafka.log_identity import LogReplacedError
from stream.kafka.records import Record
from stream.kafka.state_topics import read_partition
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.item_vectors import item_vectors
from tests.stream.ingest.owners import RULES, Unscored
from tests.stream.log import read_topic, settings_on
from tests.waiting import eventually
from trainer.items.item_learning import ItemRules


def one_partition(cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    """Settings with topics of their own, of one partition each."""
    settings = settings_on(cluster.bootstrap_servers, f"lost-{uuid.uuid4().hex[:8]}.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    return one_partition(cluster)


def starting_over(settings: Settings, how: str) -> Settings:
    return msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, start_over=how))


@asynccontextmanager
async def emitter_on(settings: Settings) -> AsyncIterator[Emitter]:
    emitter = Emitter(settings)
    await emitter.start()
    try:
        yield emitter
    finally:
        await emitter.stop()


async def publish(settings: Settings, *numbers: int) -> None:
    """One click of user v on item i for each number; -1 is no event."""
    async with emitter_on(settings) as emitter:
        for n in numbers:
            event = {"event_id": f"e{n}", "user_id": "v", "item_id": "i", "kind": "click", "occurred_at": 1.0 + n}
            value = json.dumps(event).encode() if n >= 0 else b"{"
            await emitter.settle([await emitter.send("engagements", value, key=b"v", partition=0)])


async def anew(settings: Settings, name: str) -> None:
    """Deletes a topic and creates it again."""

    def recreate() -> None:
        full = settings.topic(name)
        with admin_client(settings) as admin:
            admin.delete_topics([full])
            eventually(lambda: full not in admin.list_topics())
        create_topics(settings)

    await asyncio.to_thread(recreate)


async def work(partition: Partition, *topics: str) -> None:
    """A partition restored, given what lies beyond its cursors, published, and closed."""
    try:
        await partition.restore()
        for topic in topics:
            records = []
            async for r in read_partition(partition._settings, topic, 0, partition.cursors[topic].ahead):
                records.append(Record(topic, 0, r.offset, r.timestamp, r.key, r.value, lambda: None))
            await partition._take(records)
            await partition._publish_once()
        partition.keep_safe()
    finally:
        partition.close()


async def absorb(settings: Settings, disk: Path) -> None:
    """The owners of users and items work through all that is new."""
    async with emitter_on(settings) as emitter:
        users = UserSide(0, 1, RowStore(disk / "users", UserRow), RULES, EventReader())
        context = PartitionContext(settings=settings, emitter=emitter, metrics=Metrics(), generation=lambda: 1)
        owner = UserPartition(users, context, Unscored(), lambda: 1e9)
        await work(owner, settings.topic("engagements"))
        items = ItemSide(0, RowStore(disk / "items", ItemRow), ItemRules(), item_vectors(disk / "vectors", 0, 1))
        await work(ItemPartition(items, context, lambda: 1e9, "http://x"), settings.topic("item-signals"))


def published(settings: Settings) -> tuple[list[str], int]:
    """The history of v and the clicks of i as the state topics end."""
    users = [r for r in read_topic(settings, "user-states") if r.key == b"v"]
    items = [r for r in read_topic(settings, "item-states") if r.key == b"i"]
    history = msgspec.msgpack.decode(users[-1].value, type=UserRow)
    row = msgspec.msgpack.decode(items[-1].value, type=ItemRow)
    return [entry.event_id for entry in history.entries], sum(row.counters.values())


@pytest.mark.parametrize("disk", ["kept", "wiped"])
def test_engagements_created_anew_are_refused_until_a_person_chooses(
    settings: Settings, tmp_path: Path, disk: str
) -> None:
    async def scenario() -> None:
        await publish(settings, *range(10))
        await absorb(settings, tmp_path / "kept")
        await anew(settings, "engagements")
        await publish(settings, *range(100, 108))
        with pytest.raises(LogReplacedError, match=r"holds offsets 0 to 7 and is another topic.*read up to 9"):
            await absorb(settings, tmp_path / disk)
        await absorb(starting_over(settings, "beginning"), tmp_path / disk)
        expected = [f"e{n}" for n in (*range(10), *range(100, 108))]
        assert published(settings) == (expected, 18)
        await publish(settings, 108, -1)
        await absorb(settings, tmp_path / "wiped")  # the choice is needed once, whatever disk comes next
        assert published(settings) == ([*expected, "e108"], 19)
        assert [letter.offset for letter in read_letters(settings)] == [9]  # as a person finds it

    asyncio.run(scenario())


def test_a_topic_that_has_grown_beyond_the_position_is_another_one_all_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    async def scenario() -> None:
        await publish(settings, *range(3))
        await absorb(settings, tmp_path)
        await anew(settings, "engagements")
        await publish(settings, *range(100, 108))
        with pytest.raises(LogReplacedError, match="is another topic"):
            await absorb(settings, tmp_path)

    asyncio.run(scenario())


def test_engagements_that_were_cut_go_on_from_their_end(tmp_path: Path) -> None:
    """What a power cut, or an unclean election, leaves: the same topic with fewer records."""

    async def scenario(broker: EmbeddedCluster) -> None:
        settings = settings_on(broker.bootstrap_servers, "cut.", kafka={"partitions": 1})
        await asyncio.to_thread(create_topics, settings)
        await publish(settings, *range(10))
        await absorb(settings, tmp_path / "disk")
        broker.kill()
        log = next((tmp_path / "broker" / "data" / "topics" / "cut.engagements" / "0").glob("*.log"))
        data = log.read_bytes()
        log.write_bytes(data[: len(data) * 6 // 10 + 1])
        broker.restart()
        with pytest.raises(LogReplacedError, match="holds offsets 0 to 5 and ends before what was read"):
            await absorb(settings, tmp_path / "disk")
        await publish(settings, 200)  # acknowledged while nobody worked: not lost, either
        with pytest.raises(LogReplacedError):
            await absorb(settings, tmp_path / "disk")
        await absorb(starting_over(settings, "end"), tmp_path / "disk")
        await publish(settings, 201)
        await absorb(settings, tmp_path / "disk")
        assert published(settings) == ([f"e{n}" for n in (*range(10), 201)], 11)

    broker = EmbeddedCluster(tmp_path / "broker")
    broker.start()
    try:
        asyncio.run(scenario(broker))
    finally:
        broker.stop()


def test_signals_created_anew_are_refused_and_then_absorbed(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        await publish(settings, *range(10))
        await absorb(settings, tmp_path)
        await anew(settings, "item-signals")
        with pytest.raises(LogReplacedError, match="item-signals"):
            await absorb(settings, tmp_path)
        await publish(settings, 10, 11)
        await absorb(starting_over(settings, "beginning"), tmp_path)
        assert published(settings) == ([f"e{n}" for n in range(12)], 12)

    asyncio.run(scenario())


def test_state_topics_that_were_lost_are_published_again_from_the_disk(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        await publish(settings, *range(5))
        await absorb(settings, tmp_path / "kept")
        for name in ("user-states", "item-states"):
            await anew(settings, name)
        await absorb(settings, tmp_path / "kept")
        assert published(settings) == ([f"e{n}" for n in range(5)], 5)
        await publish(settings, 5)
        await absorb(settings, tmp_path / "wiped")
        assert published(settings) == ([f"e{n}" for n in range(6)], 6)

    asyncio.run(scenario())


def test_partitions_added_to_a_system_at_rest_are_refused(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        await publish(settings, 1)
        await absorb(settings, tmp_path)
        await asyncio.to_thread(grow, settings, "engagements")
        with pytest.raises(LogReplacedError, match="has 3 partitions, and rows lie where 1 put them"):
            await absorb(settings, tmp_path)

    asyncio.run(scenario())


def grow(settings: Settings, name: str) -> None:
    with admin_client(settings) as admin:
        admin.create_partitions({settings.topic(name): 3})
