"""The lag is what the group has not committed: known while a broker answers, and absent while it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from store.settings import settings_from
from stream.ingest import consumer_lag
from stream.ingest.consumer_lag import LagWatch
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster
from tests.stream.kafka.test_state_topics import send
from tests.stream.log import settings_on
from tests.waiting import PATIENCE_S


def test_a_broker_that_stands_still_takes_the_lag_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_lag, "ANSWER_S", 1.0)
    broker = EmbeddedCluster(tmp_path)
    broker.start()
    settings = settings_from({"kafka": {"bootstrap_servers": broker.bootstrap_servers, "partitions": 1}})
    create_topics(settings)
    metrics = Metrics()

    async def until(known: bool) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while bool(metrics.snapshot()["lag"]) != known:
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        watch = asyncio.create_task(LagWatch(settings, metrics, interval_s=0.1).run())
        await until(known=True)
        broker.pause()
        await until(known=False)
        broker.resume()
        await until(known=True)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    asyncio.run(scenario())
    assert broker.stop() == 0


def test_lag_is_what_the_group_has_not_committed(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "lag.", kafka={"group": "lag"})
    create_topics(settings)
    metrics = Metrics()

    def lag(topic: str, partition: int) -> float | None:
        labels = {"topic": topic, "partition": str(partition)}
        return metrics.registry.get_sample_value("sidestream_consumer_lag", labels)

    async def scenario() -> None:
        await send(settings, "engagements", *[b"{}"] * 7, partition=0)
        await send(settings, "engagements", *[b"{}"] * 3, partition=1)
        place = TopicPartition(settings.topic("engagements"), 0)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka.bootstrap_servers, group_id="lag", enable_auto_commit=False
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
