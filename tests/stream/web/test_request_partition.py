"""Requests over Kafka on a real broker: answered in order, refused with a reason, and none from before a forgetting."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from store.settings import Settings
from stream.ingest.protocol.partition_context import PartitionContext
from stream.kafka.dead_letters import read_letters
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from stream.web.request_partition import ForgottenAt, RequestPartition
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on
from tests.stream.web.fake_service import FakeService

ASKED_AT_MS = 5_000


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster, request: pytest.FixtureRequest) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, f"{request.node.name[5:40]}.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


def absorb(settings: Settings, *requests: bytes | None, forgotten_at_ms: ForgottenAt = lambda _: -1) -> Metrics:
    """Has a partition answer the requests, whose keys are numbers; what it counted."""
    metrics = Metrics()

    async def scenario() -> None:
        emitter = Emitter(settings)
        await emitter.start()
        context = PartitionContext(settings=settings, emitter=emitter, metrics=metrics)
        partition = RequestPartition(0, context, FakeService(metrics), forgotten_at_ms)
        await partition.restore()
        topic = settings.topic("recommend-requests")
        taken = [Record(topic, 0, n, ASKED_AT_MS, b"%d" % n, v, lambda: None) for n, v in enumerate(requests)]
        await emitter.settle(await partition.absorb(taken))
        partition.close()
        await emitter.stop()

    asyncio.run(scenario())
    return metrics


def asking(user_id: str, **fields: Any) -> bytes:
    return msgspec.json.encode({"user_id": user_id, **fields})


def answers(settings: Settings) -> dict[bytes, Any]:
    return {record.key: msgspec.json.decode(record.value) for record in read_topic(settings, "recommendations")}


def counted(metrics: Metrics, result: str) -> float | None:
    labels = {"topic": "recommend-requests", "result": result}
    return metrics.registry.get_sample_value("sidestream_events_total", labels)


def test_each_is_answered_under_its_key_with_the_id_that_it_gave(settings: Settings) -> None:
    metrics = absorb(settings, asking("ada", k=2, request_id="mine"), asking("far"), asking("bob", request_id=7))
    found = answers(settings)
    assert list(found) == [b"0", b"1", b"2"], "in order"
    assert [answer["request_id"] for answer in found.values()] == ["mine", "r1", "r1"]
    assert len(found[b"0"]["items"]) == 2
    assert [answer["degraded"] for answer in found.values()] == [False, True, False]
    assert counted(metrics, "absorbed") == 3


def test_what_is_no_request_is_refused_by_name_and_those_after_it_are_answered(settings: Settings) -> None:
    wrong = [None, b"{", asking("ada", k=1000), asking("ada", request_id="x" * 257)]
    metrics = absorb(settings, *wrong, asking("ada"))
    assert list(answers(settings)) == [b"4"]
    letters = list(read_letters(settings))
    assert [(letter.offset, letter.reason) for letter in letters] == [(n, "wrong_type") for n in range(4)]
    assert "k: " in letters[2].detail
    assert "at most 256 characters" in letters[3].detail
    assert (counted(metrics, "absorbed"), counted(metrics, "refused")) == (1, 4)


def test_who_was_forgotten_after_asking_is_not_answered(settings: Settings) -> None:
    forgotten = {"ada": ASKED_AT_MS, "bob": ASKED_AT_MS - 1}
    metrics = absorb(settings, asking("ada"), asking("bob"), forgotten_at_ms=lambda user: forgotten.get(user, -1))
    assert list(answers(settings)) == [b"1"]
    assert (counted(metrics, "absorbed"), counted(metrics, "duplicate")) == (1, 1)
