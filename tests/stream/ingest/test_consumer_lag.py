"""The lag is known while a broker answers, and absent while it does not (its values: test_state_topics)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from store.settings import settings_from
from stream.ingest import consumer_lag
from stream.ingest.consumer_lag import LagWatch
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster
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
