"""The emitter on a real broker: in order, in batches, and nothing after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from store.settings import Settings
from stream.kafka.emitter import Emitter, EmitterError
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on

LARGE = 17 << 20


def on_topics(broker: EmbeddedCluster, prefix: str) -> Settings:
    settings = settings_on(broker.bootstrap_servers, prefix)
    create_topics(settings)
    return settings


def emitting(settings: Settings, scenario: Callable[[Emitter], Awaitable[None]]) -> None:
    async def run() -> None:
        emitter = Emitter(settings)
        await emitter.start()
        try:
            await scenario(emitter)
        finally:
            await emitter.stop()

    asyncio.run(run())


def test_records_arrive_in_the_order_they_were_sent(embedded_broker: EmbeddedCluster) -> None:
    settings = on_topics(embedded_broker, "em1.")

    async def scenario(emitter: Emitter) -> None:
        sends = []
        for number in range(300):
            value = None if number % 50 == 7 else f"{number}".encode() * 50
            headers = [("generation", b"3")]
            sends.append(await emitter.send("item-signals", value, key=b"k", partition=1, headers=headers))
        await emitter.settle(sends)
        assert [send.result().offset for send in sends] == list(range(300))

    emitting(settings, scenario)
    records = read_topic(settings, "item-signals")
    assert [record.value for record in records] == [
        None if number % 50 == 7 else f"{number}".encode() * 50 for number in range(300)
    ]
    assert {(record.partition, record.key, tuple(record.headers)) for record in records} == {
        (1, b"k", (("generation", b"3"),))
    }


def test_rows_travel_in_batches_whatever_their_size(embedded_broker: EmbeddedCluster) -> None:
    settings = on_topics(embedded_broker, "em2.")
    sizes = [10] * 2000 + [1 << 20, 10, 3 << 20, 200_000, 200_000, 10]
    rows = [(f"k{n}".encode(), None if n % 100 == 3 else b"x" * size, [("h", b"1")]) for n, size in enumerate(sizes)]

    async def scenario(emitter: Emitter) -> None:
        assert await emitter.send_rows("item-states", 2, []) == -1
        begin = await emitter.send_rows("item-states", 2, rows)
        assert 0 < begin < len(rows)
        assert await emitter.send_rows("item-states", 2, [(b"position", b"p", [])]) == len(rows)

    emitting(settings, scenario)
    records = read_topic(settings, "item-states")
    assert [(record.key, record.value) for record in records[:-1]] == [(key, value) for key, value, _ in rows]
    assert records[-1].key == b"position"
    assert records[5].headers == [("h", b"1")]


@pytest.mark.parametrize("way", ["send", "send_rows"])
def test_the_first_failure_stops_everything(embedded_broker: EmbeddedCluster, way: str) -> None:
    settings = on_topics(embedded_broker, f"em3{way}.")

    async def too_large(emitter: Emitter) -> None:
        if way == "send":
            await emitter.settle([await emitter.send("item-signals", b"x" * LARGE, partition=0)])
        else:
            await emitter.send_rows("item-signals", 0, [(b"k", b"x" * LARGE, [])])

    async def scenario(emitter: Emitter) -> None:
        await emitter.settle([await emitter.send("item-signals", b"before", partition=0)])
        with pytest.raises(EmitterError):
            await too_large(emitter)
        with pytest.raises(EmitterError, match="an earlier record was not sent"):
            await emitter.send("item-signals", b"after", partition=0)
        with pytest.raises(EmitterError, match="an earlier record was not sent"):
            await emitter.send_rows("item-signals", 0, [(b"k", b"after", [])])

    emitting(settings, scenario)
    assert [record.value for record in read_topic(settings, "item-signals")] == [b"before"]


def test_what_the_broker_refuses_is_a_failure_too(embedded_broker: EmbeddedCluster) -> None:
    """Beyond the topic's own limit, which only the broker knows."""
    settings = on_topics(embedded_broker, "em4.")

    async def scenario(emitter: Emitter) -> None:
        with pytest.raises(EmitterError, match="could not send"):
            await emitter.settle([await emitter.send("semantic-ids", b"x" * (4 << 20), partition=0)])
        with pytest.raises(EmitterError, match="an earlier record"):
            await emitter.send("semantic-ids", b"after", partition=0)

    emitting(settings, scenario)
    assert read_topic(settings, "semantic-ids") == []


def test_an_emitter_that_was_not_started_says_so() -> None:
    async def scenario() -> None:
        emitter = Emitter(Settings())
        with pytest.raises(EmitterError, match="not been started"):
            await emitter.send("item-signals", b"x")
        await emitter.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("way", ["send", "queue_rows"])
def test_nothing_of_a_partition_reaches_the_log_after_a_failed_send(cluster: Any, way: str) -> None:
    """What waits behind it does not, nor does a stop send it. A broker that knows nothing of this producer yet would
    take it."""
    settings = settings_on(cluster.bootstrap_servers, f"em5{way}.")
    create_topics(settings)

    async def scenario(emitter: Emitter) -> None:
        sends = [await emitter.send("semantic-ids", b"x" * 300_000, partition=0)]  # compacted: it must have a key
        if way == "send":
            sends += [await emitter.send("semantic-ids", b"after", key=b"k", partition=0) for _ in range(3)]
        else:
            sends += await emitter.queue_rows("semantic-ids", 0, [(b"k", b"after", [])])
        elsewhere = await emitter.send("semantic-ids", b"elsewhere", key=b"k", partition=1)
        found = await asyncio.gather(*sends, elsewhere, return_exceptions=True)
        assert all(isinstance(each, Exception) for each in found[:-1])

    emitting(settings, scenario)
    assert [record.value for record in read_topic(settings, "semantic-ids") if record.partition == 0] == []


def test_a_batch_that_the_broker_does_not_take_expires_and_takes_the_rest_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker stands still. When it goes on, it may have the batch that was on its way, but nothing after it."""
    monkeypatch.setattr("stream.kafka.emitter.EXPIRES_S", 2)
    broker = EmbeddedCluster(tmp_path)
    broker.start()
    settings = on_topics(broker, "em6.")

    async def scenario(emitter: Emitter) -> None:
        await emitter.settle([await emitter.send("item-signals", b"before", partition=0)])
        broker.pause()
        try:
            first = await emitter.send("item-signals", b"expires", partition=0)
            await asyncio.sleep(0.5)
            behind = [await emitter.send("item-signals", b"behind", partition=0) for _ in range(3)]
            found = await asyncio.wait_for(asyncio.gather(first, *behind, return_exceptions=True), 20)
            assert [type(each) for each in found] == [EmitterError] * 4
            with pytest.raises(EmitterError, match="an earlier record"):
                await emitter.send("item-signals", b"after", partition=0)
        finally:
            broker.resume()

    emitting(settings, scenario)
    assert [record.value for record in read_topic(settings, "item-signals")] in ([b"before"], [b"before", b"expires"])
    broker.stop()


def test_a_stop_waits_for_what_is_on_its_way(embedded_broker: EmbeddedCluster) -> None:
    settings = on_topics(embedded_broker, "em7.")

    async def scenario(emitter: Emitter) -> None:
        for number in range(1000):
            await emitter.send("item-signals", b"%d" % number * 1000, partition=0)

    emitting(settings, scenario)
    assert len(read_topic(settings, "item-signals")) == 1000
