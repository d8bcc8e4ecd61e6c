"""Requests about records, asked of a node in this process; that real Kafka says the same is in test_conformance."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.broker.calls import data as data_calls
from stream.broker.errors import Code
from stream.broker.node import Node, now_ms
from stream.broker.protocol import APIS, Call
from stream.broker.server import HANDLERS
from tests.stream.broker.batches import batch, rows
from tests.stream.broker.node_calls import ask, node_at
from tests.tiny_disk import TinyDisk, tiny_disk

GOOD = batch([(b"k", b"v")])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with node_at(tmp_path) as node:
        node.topics.create("t", 2, {}, now_ms())
        yield node


async def produce(node: Node, data: bytes, partition: int = 0, topic: str = "t", **given: Any) -> Any:
    asked = [{"name": topic, "partition_data": [{"index": partition, "records": data}]}]
    answer = await ask(node, "Produce", 8, **{"acks": -1, "timeout_ms": 1000, "topic_data": asked, **given})
    return answer and answer.responses[0].partition_responses[0]


async def fetch(node: Node, *offsets: int, **limits: int) -> list[Any]:
    """Of the partitions 0, 1, … from these offsets on."""
    given = {"replica_id": -1, "max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20, "session_epoch": -1} | limits
    asked = [{"partition": n, "fetch_offset": at, "partition_max_bytes": 1 << 20} for n, at in enumerate(offsets)]
    answer = await ask(node, "Fetch", 11, topics=[{"topic": "t", "partitions": asked}], **given)
    return list(answer.responses[0].partitions)


def test_what_is_produced_is_fetched_and_each_refusal_is_of_its_partition_only(node: Node) -> None:
    async def scenario() -> None:
        stored = [await produce(node, batch([(b"k", b"%d" % n)])) for n in range(2)]
        assert [(one.error_code, one.base_offset) for one in stored] == [(Code.NONE, 0), (Code.NONE, 1)]
        codes = [
            (await produce(node, GOOD, partition=5)).error_code,
            (await produce(node, GOOD, topic="none")).error_code,
            (await produce(node, GOOD[:-1] + b"?")).error_code,
            (await produce(node, GOOD, acks=5)).error_code,
            (await produce(node, GOOD, transactional_id="tx")).error_code,
        ]
        assert codes == [3, 3, Code.CORRUPT_MESSAGE, Code.INVALID_REQUIRED_ACKS, 53]
        whole, beyond = await fetch(node, 0, 9)
        assert [row.value for row in rows(bytes(whole.records))] == [b"0", b"1"]
        assert (whole.high_watermark, beyond.error_code) == (2, Code.OFFSET_OUT_OF_RANGE)

    asyncio.run(scenario())


def test_without_acknowledgement_there_is_no_answer(node: Node) -> None:
    async def scenario() -> None:
        assert await produce(node, GOOD, acks=0) is None
        assert node.topics.log("t", 0).end == 1

    asyncio.run(scenario())


def test_a_reader_waits_for_as_much_as_it_wants_and_no_longer_than_it_said(node: Node) -> None:
    async def scenario() -> None:
        began = time.monotonic()
        (nothing,) = await fetch(node, 0, max_wait_ms=100)
        assert (bytes(nothing.records or b""), time.monotonic() - began > 0.09) == (b"", True)
        waiting = asyncio.create_task(fetch(node, 0, max_wait_ms=20_000))
        await asyncio.sleep(0)
        assert not waiting.done()
        await produce(node, GOOD)
        (woken,) = await asyncio.wait_for(waiting, 5)
        assert len(rows(bytes(woken.records))) == 1
        assert not any(log.listeners for log in node.topics.get("t").logs), "who has been answered listens no more"
        (little,) = await fetch(node, 0, max_wait_ms=50, min_bytes=1 << 19)
        assert len(rows(bytes(little.records))) == 1
        await asyncio.wait_for(fetch(node, 99, max_wait_ms=20_000), 5)  # a refusal is no wait

    asyncio.run(scenario())


def test_offsets_are_found_by_place_and_by_time(node: Node) -> None:
    async def at(timestamp: int, partition: int = 0) -> tuple[int, int, int]:
        asked = [{"name": "t", "partitions": [{"partition_index": partition, "timestamp": timestamp}]}]
        found = (await ask(node, "ListOffsets", 7, replica_id=-1, topics=asked)).topics[0].partitions[0]
        return found.error_code, found.offset, found.timestamp

    async def scenario() -> None:
        for timestamp_ms in (1000, 3000, 2000):
            await produce(node, batch([(b"k", b"v")], timestamp_ms))
        assert [await at(wanted) for wanted in (-2, -1)] == [(0, 0, -1), (0, 3, -1)]
        assert [await at(wanted) for wanted in (1001, 2500, 3001)] == [(0, 1, 3000), (0, 1, 3000), (0, -1, -1)]
        assert await at(-3) == (0, 1, 3000), "the newest"
        assert [(await at(-1, 9))[0], (await at(-9))[0]] == [3, Code.UNSUPPORTED_VERSION]

    asyncio.run(scenario())


def test_topics_are_told_by_name_by_id_or_all_and_made_only_where_that_is_allowed(tmp_path: Path, node: Node) -> None:
    async def told(of: Node, asked: list[dict[str, Any]] | None, may_create: bool = True) -> list[tuple[int, str, int]]:
        answer = await ask(of, "Metadata", 12, topics=asked, allow_auto_topic_creation=may_create)
        return [(topic.error_code, topic.name, len(topic.partitions)) for topic in answer.topics]

    async def scenario(making: Node) -> None:
        assert await told(node, None) == [(0, "t", 2)]
        assert await told(node, [{"name": "t"}, {"name": "none"}, {"name": ".."}]) == [
            (0, "t", 2),
            (3, "none", 0),
            (Code.INVALID_TOPIC, "..", 0),
        ]
        known, unknown = node.topics.get("t").id, uuid.UUID(int=7)
        assert await told(node, [{"name": None, "topic_id": known}]) == [(0, "t", 2)]
        assert (await told(node, [{"name": None, "topic_id": unknown}]))[0][0] == Code.UNKNOWN_TOPIC_ID
        assert await told(making, [{"name": "new"}], may_create=False) == [(3, "new", 0)]
        assert await told(making, [{"name": "new"}]) == [(0, "new", 5)]

    with node_at(tmp_path / "making", auto_create_topics=True, partitions=5) as making:
        asyncio.run(scenario(making))


def test_a_client_of_a_version_to_come_is_told_how_to_ask(node: Node) -> None:
    async def scenario() -> None:
        every = await ask(node, "ApiVersions", 0)
        assert {key.api_key: (key.min_version, key.max_version) for key in every.api_keys} == {
            key: (api.oldest, api.newest) for key, api in APIS.items()
        }
        too_new = await HANDLERS["ApiVersions"](node, Call(APIS[18], 0, 1, "me", None))
        assert too_new is not None
        assert too_new["error_code"] == Code.UNSUPPORTED_VERSION
        assert [key["api_key"] for key in too_new["api_keys"]] == [18]

    asyncio.run(scenario())


def test_producers_have_ids_of_their_own_and_transactions_none(node: Node) -> None:
    async def new(transactional_id: str | None) -> Any:
        return await ask(node, "InitProducerId", 1, transactional_id=transactional_id, transaction_timeout_ms=1)

    async def scenario() -> None:
        given = [await new(None), await new(None)]
        assert given[0].producer_id != given[1].producer_id
        assert (await new("tx")).error_code == Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED

    asyncio.run(scenario())


def test_what_a_full_disk_refuses_is_said_once_and_taken_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    large = batch([(b"k", b"x" * 100_000)])

    async def scenario(node: Node, disk: TinyDisk) -> None:
        assert (await produce(node, large)).base_offset == 0
        disk.fill()
        assert [(await produce(node, large)).error_code for _ in range(3)] == [Code.STORAGE_ERROR] * 3
        disk.make_room()
        assert (await produce(node, large)).base_offset == 1

    with tiny_disk(tmp_path / "disk", 8) as disk, node_at(disk.folder) as node:
        node.topics.create("t", 1, {}, now_ms())
        asyncio.run(scenario(node, disk))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "make room" in caplog.records[0].getMessage()


def test_a_topic_without_a_name_is_looked_for_by_its_id_in_every_version_that_has_ids(node: Node) -> None:
    known = node.topics.get("t").id
    for version in (10, 11, 12):
        asked = [{"name": None, "topic_id": known}, {"name": None, "topic_id": uuid.UUID(int=0)}]
        found = asyncio.run(ask(node, "Metadata", version, topics=asked)).topics
        assert [topic.error_code for topic in found] == [Code.NONE, Code.UNKNOWN_TOPIC_ID]


def test_a_fetch_waits_a_minute_at_most(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked to wait for 24 days and went away left the wait behind for so long."""
    assert data_calls._LONGEST_WAIT_S == 60.0
    monkeypatch.setattr(data_calls, "_LONGEST_WAIT_S", 0.05)
    (part,) = asyncio.run(fetch(node, 0, max_wait_ms=2**31 - 1))
    assert (part.error_code, bytes(part.records or b"")) == (Code.NONE, b"")
