"""Requests about records: produce, fetch, offsets by time, metadata, producer ids."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

from stream.broker.errors import NO_TRANSACTIONS, Code, RefusedError
from stream.broker.node import HOST, NODE_ID, Node, now_ms
from stream.broker.protocol import APIS, Call
from stream.broker.storage.logs import Log
from stream.broker.storage.topics import check_name

Answer = Mapping[str, Any]

_MOST_FETCHED = 4 * 2**20  # bytes in one answer, so that one reader does not hold up the others
_LONGEST_WAIT_S = 60.0  # a client that has gone is not noticed while its fetch waits
_LATEST, _EARLIEST, _NEWEST = -1, -2, -3


async def produce(node: Node, call: Call) -> Answer | None:
    """Stores one batch per partition; with acks=0 there is no answer."""
    topics = []
    for topic in call.body.topic_data:
        parts = [await _append(node, topic.name, part, call.body) for part in topic.partition_data]
        topics.append({"name": topic.name, "partition_responses": parts})
    return None if call.body.acks == 0 else {"responses": topics}


async def _append(node: Node, topic: str, part: Any, body: Any) -> Answer:
    try:
        if body.acks not in (-1, 0, 1):
            raise RefusedError(Code.INVALID_REQUIRED_ACKS)
        if body.transactional_id is not None:
            raise RefusedError(Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, NO_TRANSACTIONS)
        log = node.topics.log(topic, part.index)
        offset, append_time_ms = log.append(part.records or b"", now_ms())
        if node.options.fsync_every_s == 0:
            await asyncio.to_thread(log.flush)
    except RefusedError as refused:
        if refused.code == Code.STORAGE_ERROR:
            node.refused_writes.refused(refused)
        answer = {"index": part.index, "error_code": refused.code, "base_offset": -1, "log_start_offset": -1}
        return answer | {"error_message": refused.message}
    node.refused_writes.taken()
    placed = {"index": part.index, "base_offset": offset, "log_append_time_ms": append_time_ms}
    return placed | {"log_start_offset": log.start}


async def fetch(node: Node, call: Call) -> Answer:
    """Reads from many partitions; with too little to give, waits until data comes or the client's time is up."""
    deadline = time.monotonic() + min(call.body.max_wait_ms / 1000, _LONGEST_WAIT_S)
    arrived = asyncio.Event()
    watched = [log for topic in call.body.topics for log in _watched(node, topic)]
    for log in watched:
        log.listeners.add(arrived.set)
    try:
        while True:
            arrived.clear()
            answer, size, failed = _read(node, call)
            wait_s = deadline - time.monotonic()
            if failed or size >= call.body.min_bytes or wait_s <= 0:
                return answer
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await arrived.wait()
    finally:
        for log in watched:
            log.listeners.discard(arrived.set)


def _watched(node: Node, topic: Any) -> list[Log]:
    try:
        return [node.topics.log(topic.topic, part.partition) for part in topic.partitions]
    except RefusedError:
        return []  # the read says so


def _read(node: Node, call: Call) -> tuple[Answer, int, bool]:
    """The answer as of now, its bytes of records, and whether a partition was refused."""
    left = min(call.body.max_bytes, _MOST_FETCHED)
    size, failed, topics = 0, False, []
    for topic in call.body.topics:
        parts = []
        for part in topic.partitions:
            found = _read_partition(node, topic.topic, part, left - size, whole=size == 0)
            size += len(found["records"])
            failed |= "error_code" in found
            parts.append(found)
        topics.append({"topic": topic.topic, "partitions": parts})
    return {"responses": topics}, size, failed


def _read_partition(node: Node, topic: str, part: Any, left: int, whole: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"partition_index": part.partition, "aborted_transactions": None}
    try:
        log = node.topics.log(topic, part.partition)
        data = log.read(part.fetch_offset, min(part.partition_max_bytes, left), whole)
    except RefusedError as refused:
        return answer | {"error_code": refused.code, "high_watermark": -1, "records": b""}
    ends = {"high_watermark": log.end, "last_stable_offset": log.end, "log_start_offset": log.start}
    return answer | ends | {"records": data}


async def list_offsets(node: Node, call: Call) -> Answer:
    """The earliest or latest offset, or the first record not older than a time."""
    topics = []
    for topic in call.body.topics:
        parts = [_offset(node, topic.name, part) for part in topic.partitions]
        topics.append({"name": topic.name, "partitions": parts})
    return {"topics": topics}


def _offset(node: Node, topic: str, part: Any) -> Answer:
    answer = {"partition_index": part.partition_index}
    try:
        log = node.topics.log(topic, part.partition_index)
        if part.timestamp < _NEWEST:
            raise RefusedError(Code.UNSUPPORTED_VERSION)
    except RefusedError as refused:
        return answer | {"error_code": refused.code}
    if part.timestamp in (_LATEST, _EARLIEST):
        offset = log.end if part.timestamp == _LATEST else log.start
        return answer | {"offset": offset, "leader_epoch": 0}
    found = log.newest() if part.timestamp == _NEWEST else log.first_at(part.timestamp)
    return answer | ({"offset": found[0], "timestamp": found[1], "leader_epoch": 0} if found else {})


async def metadata(node: Node, call: Call) -> Answer:
    """The one broker, and the topics asked for (or all)."""
    asked = call.body.topics
    everything = asked is None or (call.version == 0 and not asked)
    may_create = node.options.auto_create_topics and (call.version < 4 or call.body.allow_auto_topic_creation)
    if everything:
        topics = [_described(node, name, False) for name in node.topics.names()]
    else:
        topics = [_asked_for(node, topic, may_create) for topic in asked]
    answer = {"brokers": [{"node_id": NODE_ID, "host": HOST, "port": node.port}], "cluster_id": node.cluster_id}
    return answer | {"controller_id": NODE_ID, "topics": topics}


def _asked_for(node: Node, asked: Any, may_create: bool) -> Answer:
    """By name, or by id where there is none."""
    if asked.name is not None:
        return _described(node, asked.name, may_create)
    try:
        return _described(node, node.topics.named(asked.topic_id), False)
    except RefusedError as refused:
        return {"error_code": refused.code, "name": None, "topic_id": asked.topic_id}


def _described(node: Node, name: str, may_create: bool) -> Answer:
    try:
        check_name(name)
        if may_create and name not in node.topics.names():
            node.topics.create(name, node.options.partitions, {}, now_ms())
        topic = node.topics.get(name)
    except RefusedError as refused:
        return {"error_code": refused.code, "name": name}
    node_ids = {"leader_id": NODE_ID, "leader_epoch": 0, "replica_nodes": [NODE_ID], "isr_nodes": [NODE_ID]}
    partitions = [{"partition_index": number, **node_ids} for number in range(len(topic.logs))]
    return {"name": name, "topic_id": topic.id, "partitions": partitions}


async def api_versions(_: Node, call: Call) -> Answer:
    """What is spoken; to a version that is too new, in the oldest form, how to ask again."""
    keys = [
        {"api_key": key, "min_version": api.oldest, "max_version": api.newest}
        for key, api in APIS.items()
        if call.body is not None or api is call.api
    ]
    return {"error_code": Code.UNSUPPORTED_VERSION if call.body is None else Code.NONE, "api_keys": keys}


async def init_producer_id(node: Node, call: Call) -> Answer:
    if call.body.transactional_id is not None:
        return {"error_code": Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "producer_epoch": -1}
    return {"producer_id": node.producer_ids.new(), "producer_epoch": 0}
