"""Whose time records bear: known of each topic, changed to the broker's, a warning where that cannot be asked."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from kafka.errors import KafkaError

from store.settings import Settings
from stream.kafka.broker_time import BY_BROKER, BY_SENDER, time_by_broker, timestamps_of
from stream.kafka.connections import admin_client, connect_producer
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream.kafka.broker_thread import broker_thread
from tests.stream.log import settings_on
from tests.waiting import eventually

LONG_AGO_MS = 1_000


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    return settings_on(cluster.bootstrap_servers, "broker-time.")


def test_records_bear_the_brokers_time_once_it_was_told_to_stamp_them(settings: Settings) -> None:
    ours, theirs = settings.topic("ours"), settings.topic("theirs")

    def sent_at(topic: str) -> int:
        return int(producer.send(topic, b"v", timestamp_ms=LONG_AGO_MS, partition=0).get(20).timestamp)

    with admin_client(settings) as admin, closing(connect_producer(settings)) as producer:
        kept = {"configs": {"retention.ms": "-1"}, "num_partitions": 1, "replication_factor": 1}
        admin.create_topics({ours: kept, theirs: kept})
        admin.wait_for_topics([ours, theirs])
        assert timestamps_of(admin, [ours, theirs]) == {ours: BY_SENDER, theirs: BY_SENDER}
        assert sent_at(ours) == LONG_AGO_MS
        time_by_broker(admin, [ours])
        eventually(lambda: timestamps_of(admin, [ours, theirs]) == {ours: BY_BROKER, theirs: BY_SENDER})
        eventually(lambda: sent_at(ours) > LONG_AGO_MS)
        assert sent_at(theirs) == LONG_AGO_MS


def test_a_topic_that_does_not_exist_is_a_kafka_error_as_whatever_else_cannot_be_changed(settings: Settings) -> None:
    absent = settings.topic("absent")
    with admin_client(settings) as admin, pytest.raises(KafkaError, match=f"{absent} does not exist"):
        time_by_broker(admin, [absent])


def test_of_no_topics_nothing_is_asked(settings: Settings) -> None:
    with admin_client(settings) as admin:
        pass  # closed: whatever it is asked from here on fails
    assert timestamps_of(admin, []) == {}
    time_by_broker(admin, [])


def test_what_cannot_be_asked_is_unknown_and_a_warning_and_what_cannot_be_changed_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with broker_thread(tmp_path) as broker, admin_client(settings_on(broker.address, "")) as admin:
        broker.stop()
        assert timestamps_of(admin, ["t"]) == {}
        with pytest.raises(KafkaError):
            time_by_broker(admin, ["t"])
    assert "see that it is LogAppendTime" in caplog.text
