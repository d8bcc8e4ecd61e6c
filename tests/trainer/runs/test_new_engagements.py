"""What has come since some place in the log: a quiet night, all canaries, changes nothing of what came before it."""

from __future__ import annotations

import time
import uuid

import msgspec
from kafka import KafkaProducer

from store.log import Log
from store.records.canaries import engagement_canary
from store.settings import Settings
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import settings_on
from trainer.runs.new_engagements import NewEngagements


def publish(settings: Settings, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for value in values:
        producer.send(settings.topic("engagements"), value, partition=0)
    producer.flush(20)
    producer.close()


def framed(count: int) -> bytes:
    event = {"user_id": "u", "item_id": "i", "kind": "click", "occurred_at": 1.0}
    return msgspec.json.encode({"events": [{**event, "event_id": f"e{number}"} for number in range(count)]})


def test_a_quiet_night_changes_nothing_of_what_came_before_it(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, f"new-{uuid.uuid4().hex[:8]}.", kafka={"partitions": 1})
    create_topics(settings)
    with Log(settings.kafka) as log:
        new = NewEngagements(log, settings, sample_records=20)
        assert new.count({}, time.time()) == 0
        publish(settings, [framed(50)] * 100)
        assert new.count({}, time.time()) == 5000
        publish(settings, [engagement_canary(0, 1, 1.0)] * 900)
        assert new.count({}, time.time()) == 5000
        publish(settings, [framed(3)])
        assert new.count({}, time.time()) == 5003
        assert new.count({0: 1000}, time.time()) == 3  # a checkpoint has learned the rest
        just_started = NewEngagements(log, settings, sample_records=20)
        assert 4000 < just_started.count({}, time.time()) < 6000
