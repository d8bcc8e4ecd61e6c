"""Requests that make, change and describe topics, and describe the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stream.broker.errors import Code, RefusedError
from stream.broker.node import HOST, NODE_ID, Node, now_ms
from stream.broker.protocol import Call

Answer = Mapping[str, Any]

_TOPIC, _BROKER = 2, 4  # resource types
_BROKERS = 1  # what kind of nodes a cluster is described by
_FROM_TOPIC, _FROM_BROKER, _DEFAULT = 1, 4, 5  # where a setting comes from
_SET, _DELETE, _APPEND, _SUBTRACT = range(4)


def _outcome(act: Callable[..., object], *given: Any) -> dict[str, Any]:
    """Does it, and says in Kafka's words how it went."""
    try:
        act(*given)
    except RefusedError as refused:
        return {"error_code": refused.code, "error_message": refused.message}
    return {"error_code": Code.NONE, "error_message": None}


async def create_topics(node: Node, call: Call) -> Answer:
    dry = call.body.validate_only
    return {"topics": [{"name": t.name} | _outcome(_create, node, t, dry) for t in call.body.topics]}


def _create(node: Node, asked: Any, dry: bool) -> None:
    if asked.replication_factor not in (-1, 1):
        raise RefusedError(Code.INVALID_REPLICATION_FACTOR, "this broker is one node: the replication factor is 1")
    if any(list(each.broker_ids) != [NODE_ID] for each in asked.assignments):
        raise RefusedError(Code.INVALID_REPLICA_ASSIGNMENT, f"this broker is one node, number {NODE_ID}")
    partitions = asked.num_partitions
    if partitions == -1:
        partitions = len(asked.assignments) or node.options.partitions
    configs = {config.name: config.value for config in asked.configs}
    node.topics.create(asked.name, partitions, configs, now_ms(), dry)


async def delete_topics(node: Node, call: Call) -> Answer:
    def delete(name: str) -> None:
        node.topics.delete(name)
        node.offsets.drop_topic(name)

    outcomes = {name: _outcome(delete, name) for name in call.body.topic_names}
    return {"responses": [{"name": name, "error_code": found["error_code"]} for name, found in outcomes.items()]}


async def create_partitions(node: Node, call: Call) -> Answer:
    dry, grow = call.body.validate_only, node.topics.grow
    return {"results": [{"name": t.name} | _outcome(grow, t.name, t.count, now_ms(), dry) for t in call.body.topics]}


async def delete_records(node: Node, call: Call) -> Answer:
    topics = []
    for topic in call.body.topics:
        parts = [_delete_records(node, topic.name, part) for part in topic.partitions]
        topics.append({"name": topic.name, "partitions": parts})
    return {"topics": topics}


def _delete_records(node: Node, topic: str, part: Any) -> Answer:
    answer = {"partition_index": part.partition_index}
    try:
        start = node.topics.log(topic, part.partition_index).delete_before(part.offset)
    except RefusedError as refused:
        return answer | {"low_watermark": -1, "error_code": refused.code}
    return answer | {"low_watermark": start}


async def describe_configs(node: Node, call: Call) -> Answer:
    results = []
    for resource in call.body.resources:
        answer = {"resource_type": resource.resource_type, "resource_name": resource.resource_name}
        try:
            entries = _settings(node, resource.resource_type, resource.resource_name)
        except RefusedError as refused:
            results.append(answer | {"error_code": refused.code, "error_message": refused.message})
            continue
        wanted = resource.configuration_keys
        shown = [entry for entry in entries if wanted is None or entry["name"] in wanted]
        results.append(answer | {"error_message": None, "configs": shown})
    return {"results": results}


def _settings(node: Node, kind: int, name: str) -> list[dict[str, Any]]:
    if kind == _TOPIC:
        described = node.topics.get(name).config.described()
        return [
            _setting(key, value, _DEFAULT if default else _FROM_TOPIC) for key, (value, default) in described.items()
        ]
    if kind == _BROKER and name in ("", str(NODE_ID)):
        options = node.options
        given = {
            "auto.create.topics.enable": str(options.auto_create_topics).lower(),
            "log.dirs": str(options.data_dir),
            "message.max.bytes": str(options.message_max_bytes),
            "num.partitions": str(options.partitions),
        }
        return [_setting(key, value, _FROM_BROKER) | {"read_only": True} for key, value in given.items()]
    raise RefusedError(Code.INVALID_REQUEST, f"there is no resource {name!r} of type {kind} here")


def _setting(name: str, value: str, source: int) -> dict[str, Any]:
    return {"name": name, "value": value, "config_source": source}


async def alter_configs(node: Node, call: Call) -> Answer:
    """Replaces all of a topic's own settings."""
    return _alter(node, call, lambda _, configs: {config.name: config.value for config in configs})


async def incremental_alter_configs(node: Node, call: Call) -> Answer:
    """Changes some of a topic's own settings."""
    return _alter(node, call, _changed)


def _alter(node: Node, call: Call, new: Callable[[Mapping[str, str], Any], dict[str, str]]) -> Answer:
    def alter(resource: Any) -> None:
        if resource.resource_type != _TOPIC:
            raise RefusedError(
                Code.INVALID_REQUEST, "only topics can be configured; the broker's own settings are given at its start"
            )
        old = node.topics.get(resource.resource_name).config.overrides
        node.topics.configure(resource.resource_name, new(old, resource.configs), call.body.validate_only)

    return {
        "responses": [
            {"resource_type": each.resource_type, "resource_name": each.resource_name} | _outcome(alter, each)
            for each in call.body.resources
        ]
    }


def _changed(old: Mapping[str, str], configs: Any) -> dict[str, str]:
    out = dict(old)
    for config in configs:
        items = [item for item in out.get(config.name, "").split(",") if item]
        asked = (config.value or "").split(",")
        if config.config_operation == _SET:
            out[config.name] = config.value
        elif config.config_operation == _DELETE:
            out.pop(config.name, None)
        elif config.config_operation == _APPEND:
            out[config.name] = ",".join(items + [item for item in asked if item not in items])
        elif config.config_operation == _SUBTRACT:
            out[config.name] = ",".join(item for item in items if item not in asked)
    return out


async def describe_cluster(node: Node, _: Call) -> Answer:
    brokers = [{"broker_id": NODE_ID, "host": HOST, "port": node.port}]
    answer = {"error_message": None, "cluster_id": node.cluster_id, "controller_id": NODE_ID, "brokers": brokers}
    return answer | {"endpoint_type": _BROKERS}
