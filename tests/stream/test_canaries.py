"""A worker's canaries, the whole way: they come through while nothing else does, stop when the broker does, and are in
nothing that anybody asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from store.records.canaries import canary_id
from store.settings import Freshness, Settings, settings_from
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from stream.metrics.canary_ages import STAGES
from stream.metrics.objectives import objective_s
from tests.chaos.workers import WorkerProcess, read_topic
from tests.clusters import EmbeddedCluster
from tests.waiting import eventually

PARTITIONS = 2
CANARY_S = 0.5


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """One that this test may stop."""
    cluster = EmbeddedCluster(tmp_path_factory.mktemp("broker"))
    cluster.start()
    yield cluster
    cluster.stop()


class Running(WorkerProcess):
    """A worker with its settings."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, folder)
        self.settings = settings


@pytest.fixture(scope="module")
def worker(broker: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    kafka = {"bootstrap_servers": broker.bootstrap_servers, "partitions": PARTITIONS}
    settings = settings_from({"kafka": kafka, "freshness": {"canary_s": CANARY_S}})
    create_topics(settings)
    worker = Running(settings, tmp_path_factory.mktemp("worker"))
    worker.start()
    worker.await_ready()
    yield worker
    worker.stop()


def series(worker: Running) -> dict[tuple[str, ...], float]:
    """(name, values of its labels, in the order of their names) → value."""
    text = httpx.get(f"{worker.url}/metrics", timeout=10).text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ages_s(worker: Running) -> dict[tuple[str, ...], float]:
    return {key[1:]: value for key, value in series(worker).items() if key[0] == "sidestream_canary_age_seconds"}


def get(worker: Running, path: str, **query: Any) -> Any:
    return httpx.get(f"{worker.url}{path}", params=query, timeout=10).json()


def passages(worker: Running) -> list[dict[str, Any]]:
    return [stage for stage in get(worker, "/v1/status")["stages"] if stage["kind"] == "passage"]


EVERYWHERE = {(str(partition), stage) for stage in STAGES for partition in range(PARTITIONS)}


def test_an_idle_worker_is_known_to_be_well_and_knows_nobody(worker: Running) -> None:
    eventually(lambda: ages_s(worker).keys() == EVERYWHERE)
    eventually(lambda: {stage["verdict"] for stage in passages(worker)} <= {"met", "close"})
    assert max(ages_s(worker).values()) < 5.0
    found = series(worker)
    assert not [key for key, value in found.items() if key[0] == "sidestream_events_total" and value]
    missing = {key[1]: value for key, value in found.items() if key[0] == "sidestream_canaries_missing"}
    assert missing == dict.fromkeys(STAGES, 0)
    assert {stage["events"] for stage in passages(worker)} == {0}
    assert get(worker, "/v1/recommend", user_id="u", k=100)["items"] == []
    assert get(worker, "/console/users")["users"] == []
    for partition in range(PARTITIONS):
        own = canary_id(partition, PARTITIONS)
        assert httpx.get(f"{worker.url}/v1/items/{own}").status_code == 404
        assert httpx.get(f"{worker.url}/v1/users/{own}").status_code == 404


def test_of_a_partition_one_key_stays_and_nothing_else_is_kept(worker: Running) -> None:
    settings = worker.settings
    time.sleep(2 * CANARY_S)
    for name in ("uploads", "engagements", "semantic-ids"):
        for partition in range(PARTITIONS):
            keys = {key for key, _ in read_topic(settings, name, partition) if key is not None}
            assert len(keys) == 1, (name, partition)
    for name in ("item-states", "user-states", "upload-states"):
        assert {key for key, _ in read_topic(settings, name, 0)} == {b"\0position"}
    for name in ("dead-letters", "ranking-examples", "forgotten-users"):
        assert not [value for partition in range(PARTITIONS) for _, value in read_topic(settings, name, partition)]


def test_a_restart_is_no_outage_and_a_broker_that_stands_still_is_one(worker: Running, broker: EmbeddedCluster) -> None:
    settings = worker.settings
    with Publisher(settings=settings) as publisher:
        for number in range(20):
            publisher.upload({"item_id": f"i{number}", "uploaded_at": time.time(), "title": f"Item {number}"})
            event = {"event_id": f"e{number}", "user_id": "u", "item_id": f"i{number}", "kind": "click"}
            publisher.engagement({**event, "occurred_at": time.time()})
    counted = ("sidestream_upload_to_recommendable_seconds_count",)
    eventually(lambda: series(worker)[counted] == 20)
    eventually(lambda: len(get(worker, "/v1/users/u").get("history", [])) == 20)
    time.sleep(1.5)  # until it has been committed
    assert worker.stop() == 0
    worker.start()
    worker.await_ready()
    eventually(lambda: ages_s(worker).keys() == EVERYWHERE and max(ages_s(worker).values()) < 3.0)
    found = series(worker)
    assert found["sidestream_live_items",] == 20
    stages = ("upload_to_semantic_id", "upload_to_recommendable", "engagement_to_embedding")
    assert {stage: found[f"sidestream_{stage}_seconds_count",] for stage in stages} == dict.fromkeys(stages, 0)

    broker.pause()
    time.sleep(3.0)
    first = ages_s(worker)
    assert first.keys() == EVERYWHERE
    assert min(first.values()) > 2.0
    time.sleep(0.5)
    assert all(age_s >= first[where] + 0.4 for where, age_s in ages_s(worker).items())
    assert {stage["verdict"] for stage in passages(worker)} == {"missed"}
    broker.resume()
    eventually(lambda: max(ages_s(worker).values()) < 3.0)


def test_objectives_of_canaries_follow_the_settings(worker: Running) -> None:
    slowest = max(objective_s(stage, Freshness()) for stage in STAGES)
    overdue = {value for key, value in series(worker).items() if key[0] == "sidestream_canary_overdue_after_seconds"}
    assert max(overdue) == 2 * CANARY_S + slowest
    assert msgspec.structs.asdict(Freshness())["canary_s"] == 5.0
