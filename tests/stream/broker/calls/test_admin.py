"""Requests about topics, asked of a node in this process; that real Kafka says the same is in test_conformance."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.broker.errors import Code
from stream.broker.node import NODE_ID, Node, now_ms
from stream.broker.storage.offsets import Committed
from tests.stream.broker.batches import batch
from tests.stream.broker.node_calls import ask, node_at

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with node_at(tmp_path, partitions=3) as node:
        node.topics.create("t", 2, {"retention.ms": "5000", "cleanup.policy": "compact"}, now_ms())
        yield node


def asked(node: Node, name: str, version: int, **fields: Any) -> Any:
    return asyncio.run(ask(node, name, version, **fields))


def create(node: Node, name: str, *, dry: bool = False, **given: Any) -> tuple[int, str | None]:
    topic = {"name": name, "num_partitions": 1, "replication_factor": 1, **given}
    answer = asked(node, "CreateTopics", 4, topics=[topic], timeout_ms=1000, validate_only=dry).topics[0]
    return answer.error_code, answer.error_message


def test_topics_are_made_as_asked_and_what_one_node_cannot_do_is_refused_with_words(node: Node) -> None:
    assert create(node, "dry", dry=True) == (Code.NONE, None)
    assert create(node, "plain", configs=[{"name": "retention.ms", "value": "7"}]) == (Code.NONE, None)
    assert create(node, "default", num_partitions=-1, replication_factor=-1) == (Code.NONE, None)
    placed = [{"partition_index": n, "broker_ids": [NODE_ID]} for n in range(2)]
    assert create(node, "placed", num_partitions=-1, assignments=placed) == (Code.NONE, None)
    counts = {topic.name: len(topic.logs) for topic in node.topics.all()}
    assert counts == {"t": 2, "plain": 1, "default": 3, "placed": 2}
    assert node.topics.get("plain").config.overrides == {"retention.ms": "7"}
    code, why = create(node, "replicated", replication_factor=3)
    assert (code, "one node" in str(why)) == (Code.INVALID_REPLICATION_FACTOR, True)
    elsewhere = [{"partition_index": 0, "broker_ids": [7]}]
    assert create(node, "elsewhere", num_partitions=-1, assignments=elsewhere)[0] == Code.INVALID_REPLICA_ASSIGNMENT
    assert create(node, "t")[0] == Code.TOPIC_ALREADY_EXISTS


def test_a_deleted_topic_takes_its_committed_offsets_with_it(node: Node) -> None:
    node.topics.create("other", 1, {}, now_ms())
    node.offsets.commit("g", {("t", 0): Committed(5), ("other", 0): Committed(6)})
    answer = asked(node, "DeleteTopics", 3, topic_names=["t", "never made"], timeout_ms=1000)
    assert {each.name: each.error_code for each in answer.responses} == {
        "t": Code.NONE,
        "never made": Code.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert node.topics.names() == ["other"]
    assert node.offsets.of("g") == {("other", 0): Committed(6)}


def test_partitions_are_added_and_never_taken(node: Node) -> None:
    def grow(count: int) -> int:
        topics = [{"name": "t", "count": count, "assignments": None}]
        return int(asked(node, "CreatePartitions", 1, topics=topics, timeout_ms=1000).results[0].error_code)

    assert [grow(4), grow(4), grow(1)] == [Code.NONE, Code.INVALID_PARTITIONS, Code.INVALID_PARTITIONS]
    assert len(node.topics.get("t").logs) == 4


def test_records_before_an_offset_are_deleted(node: Node) -> None:
    log = node.topics.log("t", 0)
    for _ in range(3):
        log.append(batch([(b"k", b"v")]), now_ms())
    parts = [{"partition_index": 0, "offset": 2}, {"partition_index": 0, "offset": 9}, {"partition_index": 5}]
    answer = asked(node, "DeleteRecords", 1, topics=[{"name": "t", "partitions": parts}], timeout_ms=1000)
    assert [(each.error_code, each.low_watermark) for each in answer.topics[0].partitions] == [
        (Code.NONE, 2),
        (Code.OFFSET_OUT_OF_RANGE, -1),
        (Code.UNKNOWN_TOPIC_OR_PARTITION, -1),
    ]
    assert (log.start, log.end) == (2, 3)


def described(node: Node, kind: int, name: str, *keys: str) -> Any:
    resource = {"resource_type": kind, "resource_name": name, "configuration_keys": list(keys) or None}
    return asked(node, "DescribeConfigs", 2, resources=[resource]).results[0]


def test_settings_are_described_with_where_they_come_from(node: Node) -> None:
    found = described(node, TOPIC, "t", "retention.ms", "min.insync.replicas")
    assert sorted((one.name, one.value, one.config_source) for one in found.configs) == [
        ("min.insync.replicas", "1", 5),
        ("retention.ms", "5000", 1),
    ]
    assert len(described(node, TOPIC, "t").configs) > 5, "all, where none is named"
    broker = described(node, BROKER, str(NODE_ID), "num.partitions")
    assert [(one.value, one.read_only) for one in broker.configs] == [("3", True)]
    assert described(node, TOPIC, "none").error_code == Code.UNKNOWN_TOPIC_OR_PARTITION
    assert described(node, BROKER, "99").error_code == Code.INVALID_REQUEST


def test_some_settings_are_changed_or_all_are_replaced(node: Node) -> None:
    def alter(*changes: tuple[str, int, str | None], kind: int = TOPIC, dry: bool = False) -> int:
        configs = [{"name": name, "config_operation": what, "value": value} for name, what, value in changes]
        resource = {"resource_type": kind, "resource_name": "t", "configs": configs}
        answer = asked(node, "IncrementalAlterConfigs", 0, resources=[resource], validate_only=dry)
        return int(answer.responses[0].error_code)

    def own() -> dict[str, str]:
        return dict(node.topics.get("t").config.overrides)

    assert alter(("retention.ms", SET, "1"), dry=True) == Code.NONE
    assert own() == {"retention.ms": "5000", "cleanup.policy": "compact"}
    assert alter(("retention.ms", SET, "9000"), ("cleanup.policy", APPEND, "delete")) == Code.NONE
    assert own() == {"retention.ms": "9000", "cleanup.policy": "compact,delete"}
    assert alter(("retention.ms", DELETE, None), ("cleanup.policy", SUBTRACT, "compact")) == Code.NONE
    assert own() == {"cleanup.policy": "delete"}
    assert alter(("retention.ms", SET, "never")) == Code.INVALID_CONFIG
    assert alter(("num.partitions", SET, "9"), kind=BROKER) == Code.INVALID_REQUEST
    replaced = {"resource_type": TOPIC, "resource_name": "t", "configs": [{"name": "retention.ms", "value": "7"}]}
    assert asked(node, "AlterConfigs", 1, resources=[replaced]).responses[0].error_code == Code.NONE
    assert own() == {"retention.ms": "7"}


def test_the_cluster_is_this_node(node: Node) -> None:
    node.port = 9999
    answer = asked(node, "DescribeCluster", 0)
    assert (answer.cluster_id, answer.controller_id) == (node.cluster_id, NODE_ID)
    assert [(one.broker_id, one.port) for one in answer.brokers] == [(NODE_ID, 9999)]


def test_what_is_too_long_for_an_answer_is_refused_in_one_that_fits(node: Node) -> None:
    """The refusal quotes the name; 30,000 characters of it had no room, and the connection was closed at once."""
    for name in ("x" * 30_000, "\x01" * 30_000, "ü" * 16_000):
        code, why = create(node, name)
        assert (code, len(str(why)) <= 1000) == (Code.INVALID_TOPIC, True)
    grown = asked(node, "CreatePartitions", 1, topics=[{"name": "x" * 32_760, "count": 2}], timeout_ms=1000)
    assert grown.results[0].error_code == Code.UNKNOWN_TOPIC_OR_PARTITION
    code, why = create(node, "odd", configs=[{"name": "retention.ms", "value": "z" * 32_000}])
    assert code == Code.INVALID_CONFIG


def test_a_setting_that_is_null_or_no_kafka_could_hold_is_refused(node: Node) -> None:
    for value in (None, str(2**63), "9" * 4000):
        assert create(node, "odd", configs=[{"name": "retention.ms", "value": value}])[0] == Code.INVALID_CONFIG


def test_more_partitions_than_a_folder_should_hold_are_refused(node: Node) -> None:
    """2,147,483,647 were made one by one, until the disk was full; nobody was answered meanwhile."""
    assert create(node, "wide", num_partitions=2**31 - 1)[0] == Code.INVALID_PARTITIONS
    grown = asked(node, "CreatePartitions", 1, topics=[{"name": "t", "count": 2**31 - 1}], timeout_ms=1000)
    assert grown.results[0].error_code == Code.INVALID_PARTITIONS
