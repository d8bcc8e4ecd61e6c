"""What a training run reads of the log, on a real broker."""

from __future__ import annotations

import json
import time
import uuid

import msgspec
import pytest

from store.log import Log
from store.settings import Settings
from stream.client.publisher import Publisher
from stream.kafka.connections import admin_client
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream.log import settings_on
from trainer.runs.log_window import read_window, still_known


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    settings = settings_on(cluster.bootstrap_servers, f"window-{uuid.uuid4().hex[:8]}.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


def engage(settings: Settings, count: int) -> None:
    with Publisher(settings=settings, framing=None) as publisher:
        for n in range(count):
            event = {"event_id": f"e{n}", "user_id": "u", "item_id": "i", "kind": "click", "occurred_at": 1.0 + n}
            publisher.send("engagements", "u", json.dumps(event).encode())


def create_anew(settings: Settings, name: str) -> None:
    full = settings.topic(name)
    with admin_client(settings) as admin:
        admin.delete_topics([full])
        while full in admin.list_topics():
            time.sleep(0.05)
    create_topics(settings)


def test_offsets_of_a_parent_count_only_in_the_log_that_it_learned_from(settings: Settings) -> None:
    topic = settings.topic("engagements")
    engage(settings, 5)
    with Log(settings.kafka) as log:
        window = read_window(log, settings, {}, time.time())
        assert (len(window.engagements), window.end) == (5, {0: 5})
        assert window.topic_id
        assert still_known(log, topic, window.end, window.topic_id) == {0: 5}
        create_anew(settings, "engagements")
    engage(settings, 4)
    with Log(settings.kafka) as log:
        assert still_known(log, topic, window.end) == {}  # it ends before
    engage(settings, 4)
    with Log(settings.kafka) as log:
        assert still_known(log, topic, window.end) == {0: 5}  # it has grown beyond: only the id tells
        since = still_known(log, topic, window.end, window.topic_id)
        assert since == {}
        assert read_window(log, settings, since, time.time()).new() == 8


def test_a_window_ends_where_the_run_that_is_gone_on_with_ended(settings: Settings) -> None:
    engage(settings, 8)
    with Log(settings.kafka) as log:
        window = read_window(log, settings, {0: 2}, time.time(), until={0: 5, 7: 100})
        assert (window.begin, window.end) == ({0: 2}, {0: 5})
        assert [logged.offset for logged in window.engagements] == [0, 1, 2, 3, 4]


def test_a_window_costs_what_it_holds_and_not_what_the_log_does(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.runs.log_window._CHUNK_RECORDS", 5)
    brief = msgspec.structs.replace(settings.training, lookback_engagements=8, replay_ratio=0.0)
    settings = msgspec.structs.replace(settings, training=brief)
    engage(settings, 120)
    with Log(settings.kafka) as log:
        window = read_window(log, settings, {0: 110}, time.time())
    assert [logged.offset for logged in window.engagements] == list(range(100, 120))
