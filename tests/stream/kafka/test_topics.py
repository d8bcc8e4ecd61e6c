"""Topics on real brokers: created once, checked always."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from stream.kafka.connections import BrokerUnavailableError, admin_client, connect_producer
from stream.kafka.topics import TOPICS, TopicsError, check_topics, create_topics, describe_topics
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream.log import read_topic, settings_on


def test_creating_is_idempotent_and_says_what_it_did(cluster: EmbeddedCluster | KafkaCluster) -> None:
    settings = settings_on(cluster.bootstrap_servers, "twice.", kafka={"partitions": 3})
    assert {state.partitions for state in describe_topics(settings)} == {0}
    first, second = create_topics(settings), create_topics(settings)
    assert all(state.created for state in first)
    assert not any(state.created for state in second)
    assert [state.name for state in second] == [topic.name for topic in TOPICS]
    assert {state.name: state.partitions for state in second} == {
        topic.name: 1 if topic.name == "checkpoints" else 3 for topic in TOPICS
    }
    check_topics(describe_topics(settings), settings)


def test_one_that_is_missing_is_added(cluster: EmbeddedCluster | KafkaCluster) -> None:
    settings = settings_on(cluster.bootstrap_servers, "gap.")
    create_topics(settings)
    with admin_client(settings) as admin:
        admin.delete_topics(["gap.item-states"])
        while "gap.item-states" in admin.list_topics():
            time.sleep(0.05)
    with pytest.raises(TopicsError, match=r"gap.item-states.*sidestream topics create"):
        check_topics(describe_topics(settings), settings)
    assert [state.name for state in create_topics(settings) if state.created] == ["item-states"]


def test_unequal_partition_counts_are_refused(cluster: EmbeddedCluster | KafkaCluster) -> None:
    settings = settings_on(cluster.bootstrap_servers, "unequal.")
    with admin_client(settings) as admin:
        admin.create_topics({"unequal.uploads": {"num_partitions": 2, "replication_factor": 1}})
    with pytest.raises(TopicsError, match=r"different partition counts.*unequal.uploads 2"):
        create_topics(settings)


def test_checkpoints_have_one_order(cluster: EmbeddedCluster | KafkaCluster) -> None:
    settings = settings_on(cluster.bootstrap_servers, "many.")
    with admin_client(settings) as admin:
        admin.create_topics({"many.checkpoints": {"num_partitions": 2, "replication_factor": 1}})
    with pytest.raises(TopicsError, match="2 partitions, and order matters"):
        create_topics(settings)


def test_what_the_broker_refuses_is_said(cluster: EmbeddedCluster | KafkaCluster) -> None:
    settings = settings_on(cluster.bootstrap_servers, "bad.", kafka={"replication": 9})
    with pytest.raises(TopicsError, match=r"did not create bad\.[a-z-]+: .*eplication"):
        create_topics(settings)


def test_no_broker() -> None:
    with pytest.raises(BrokerUnavailableError, match="sidestream up"):
        create_topics(settings_on("127.0.0.1:1", "x."))


def test_records_bear_the_brokers_time_also_on_topics_of_earlier_releases(
    cluster: EmbeddedCluster | KafkaCluster,
) -> None:
    settings = settings_on(cluster.bootstrap_servers, "times.", kafka={"partitions": 1})
    with admin_client(settings) as admin:
        admin.create_topics({"times.engagements": {"num_partitions": 1, "replication_factor": 1}})
    create_topics(settings)
    check_topics(describe_topics(settings), settings)
    month_ago_ms = int((time.time() - 30 * 86_400) * 1000)
    with closing(connect_producer(settings)) as producer:
        for name in ("engagements", "uploads"):
            sent = producer.send(settings.topic(name), b"{}", key=b"k", timestamp_ms=month_ago_ms).get(10)
            assert sent.timestamp > month_ago_ms + 86_400_000
    assert all(record.timestamp > month_ago_ms + 86_400_000 for record in read_topic(settings, "engagements"))


def test_topics_that_bear_their_senders_times_are_refused(cluster: EmbeddedCluster | KafkaCluster) -> None:
    settings = settings_on(cluster.bootstrap_servers, "senders.", kafka={"partitions": 1})
    create_topics(settings)
    with admin_client(settings) as admin:
        change = {"message.timestamp.type": "CreateTime"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "senders.profiles", change)])
        while not next(s for s in describe_topics(settings) if s.name == "profiles").sender_timed:
            time.sleep(0.05)
    with pytest.raises(TopicsError, match=r"senders.profiles bear.*topics create.*LogAppendTime"):
        check_topics(describe_topics(settings), settings)
    check_topics(create_topics(settings), settings)
