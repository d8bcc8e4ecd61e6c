"""The broadcast on a real broker: all that was there, then the word that it was all, then the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from store.records.foreign import ForeignRecordError, ForeignRecords
from store.settings import Settings
from stream.kafka.emitter import Emitter
from stream.kafka.topics import create_topics
from stream.serving.reading.broadcast import BATCH, Broadcast
from tests.clusters import EmbeddedCluster
from tests.stream.kafka.test_state_topics import send
from tests.stream.log import settings_on


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "broadcast.")
    create_topics(settings)
    return settings


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


async def heard(broadcast: Broadcast, enough: Callable[[], bool]) -> None:
    """Runs it until that is so."""
    task = asyncio.create_task(broadcast.run())
    async with asyncio.timeout(20):
        while not enough():
            await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def publish(settings: Settings, records_by_topic: Mapping[str, Sequence[tuple[bytes, bytes]]]) -> None:
    """Records of one partition; those of a topic in one batch: they arrive together."""
    emitter = Emitter(settings)
    await emitter.start()
    for topic, records in records_by_topic.items():
        await emitter.send_rows(topic, 0, [(key, value, []) for key, value in records])
    await emitter.stop()


def test_a_record_that_is_none_is_passed_over_and_batches_come_whole_and_in_order(settings: Settings) -> None:
    taken: list[bytes] = []
    batches: list[list[bytes]] = []
    told: list[str] = []

    def take(record: Any) -> None:
        if record.value == b"x":
            raise ForeignRecordError("x is no row")
        taken.append(record.value)

    async def scenario() -> None:
        many = [(b"k", str(number).encode()) for number in range(600)]
        await publish(settings, {"user-states": [(b"a", b"a1"), (b"b", b"x"), (b"c", b"c1")], "upload-states": many})
        broadcast = Broadcast(
            settings,
            {"user-states": take},
            {"upload-states": lambda records: batches.append([record.value for record in records])},
            foreign=ForeignRecords(told.append),
        )
        await heard(broadcast, lambda: b"c1" in taken and sum(map(len, batches)) >= 600)

    asyncio.run(scenario())
    assert (taken, told) == ([b"a1", b"c1"], ["user-states"])
    assert [value for batch in batches for value in batch] == [str(number).encode() for number in range(600)]
    assert BATCH in map(len, batches)
    assert max(map(len, batches)) == BATCH


def test_what_is_to_come_later_comes_when_all_else_has_been_read(settings: Settings) -> None:
    """Four topics each: a consumer that did not wait would read the eight in an order of chance."""
    first = ("uploads", "engagements", "profiles", "item-signals")
    later = ("upload-states", "ranking-examples", "recommendations", "recommend-requests")
    seen: list[str] = []

    async def scenario() -> None:
        await publish(settings, {name: [(b"k", b"v")] for name in (*later, *first)})
        handlers = {name: lambda _, name=name: seen.append(name) for name in (*later, *first)}
        broadcast = Broadcast(settings, handlers, later=later)
        await heard(broadcast, broadcast.caught_up.is_set)

    asyncio.run(scenario())
    assert (set(seen[:4]), set(seen[4:])) == (set(first), set(later))
