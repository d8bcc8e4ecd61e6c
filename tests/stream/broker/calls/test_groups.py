"""Requests about groups, asked of a node in this process; that real Kafka says the same is in test_conformance."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream.broker.errors import Code
from stream.broker.node import Node, now_ms
from tests.stream.broker.node_calls import ask, node_at


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with node_at(tmp_path) as node:
        node.topics.create("t", 2, {}, now_ms())
        yield node


async def join(node: Node, member_id: str = "", version: int = 5, **given: Any) -> Any:
    asked = {"session_timeout_ms": 6000, "rebalance_timeout_ms": 5000, "protocol_type": "consumer"}
    asked |= {"protocols": [{"name": "range", "metadata": b"wants"}], **given}
    return await ask(node, "JoinGroup", version, group_id="g", member_id=member_id, **asked)


async def sync(node: Node, joined: Any, given: dict[str, bytes]) -> tuple[int, bytes]:
    parts = [{"member_id": member, "assignment": part} for member, part in given.items()]
    who = {"group_id": "g", "generation_id": joined.generation_id, "member_id": joined.member_id}
    answer = await ask(node, "SyncGroup", 3, assignments=parts, **who)
    return answer.error_code, bytes(answer.assignment)


async def enter(node: Node) -> Any:
    """A member that has joined and has everything."""
    joined = await join(node, version=3)
    assert await sync(node, joined, {joined.member_id: b"all"}) == (Code.NONE, b"all")
    return joined


async def commit(node: Node, offset: int, generation: int = -1, member: str = "", **given: Any) -> int:
    part = {"partition_index": 0, "committed_offset": offset, "committed_metadata": "note", **given}
    who = {"group_id": "g", "generation_id_or_member_epoch": generation, "member_id": member}
    answer = await ask(node, "OffsetCommit", 7, topics=[{"name": "t", "partitions": [part]}], **who)
    return int(answer.topics[0].partitions[0].error_code)


async def committed(node: Node, *partitions: int) -> list[tuple[int, int, str]]:
    asked = [{"name": "t", "partition_indexes": list(partitions)}] if partitions else None
    answer = await ask(node, "OffsetFetch", 5, group_id="g", topics=asked)
    return [(p.partition_index, p.committed_offset, p.metadata) for topic in answer.topics for p in topic.partitions]


async def group(node: Node) -> tuple[str, list[tuple[bytes, bytes, str]]]:
    (found,) = (await ask(node, "DescribeGroups", 4, groups=["g"])).groups
    members = [(bytes(m.member_metadata), bytes(m.member_assignment), m.client_id) for m in found.members]
    return found.group_state, members


def test_a_newcomer_of_a_newer_client_is_given_its_id_before_it_is_in(node: Node) -> None:
    async def scenario() -> None:
        first = await join(node, version=5)
        assert first.error_code == Code.MEMBER_ID_REQUIRED
        assert first.member_id.startswith("me-")
        joined = await join(node, first.member_id)
        assert (joined.error_code, joined.generation_id, joined.leader) == (Code.NONE, 1, first.member_id)
        assert [bytes(member.metadata) for member in joined.members] == [b"wants"]
        assert (await join(node, "stranger")).error_code == Code.UNKNOWN_MEMBER_ID

    asyncio.run(scenario())


def test_a_member_has_its_part_is_heard_and_leaves(node: Node) -> None:
    async def scenario() -> None:
        joined = await enter(node)

        async def beat(generation: int) -> int:
            who = {"group_id": "g", "member_id": joined.member_id, "generation_id": generation}
            return int((await ask(node, "Heartbeat", 3, **who)).error_code)

        assert [await beat(1), await beat(7)] == [Code.NONE, Code.ILLEGAL_GENERATION]
        assert await group(node) == ("Stable", [(b"wants", b"all", "me")])
        listed = (await ask(node, "ListGroups", 4, states_filter=["Stable"])).groups
        assert [(one.group_id, one.protocol_type) for one in listed] == [("g", "consumer")]
        assert (await ask(node, "ListGroups", 4, states_filter=["Empty"])).groups == []
        leaving = [{"member_id": name, "group_instance_id": None} for name in (joined.member_id, "stranger")]
        left = await ask(node, "LeaveGroup", 3, group_id="g", members=leaving)
        assert [member.error_code for member in left.members] == [Code.NONE, Code.UNKNOWN_MEMBER_ID]
        assert await beat(1) == Code.UNKNOWN_MEMBER_ID
        assert (await group(node))[0] == "Empty"

    asyncio.run(scenario())


def test_offsets_are_kept_for_who_may_commit_them(node: Node) -> None:
    async def scenario() -> None:
        assert await commit(node, 5) == Code.NONE, "nobody is in"
        assert await commit(node, 6, partition_index=9) == Code.UNKNOWN_TOPIC_OR_PARTITION
        assert await commit(node, 6, committed_metadata="x" * 5000) == Code.OFFSET_METADATA_TOO_LARGE
        joined = await enter(node)
        assert await commit(node, 7) == Code.UNKNOWN_MEMBER_ID
        assert await commit(node, 7, joined.generation_id - 1, joined.member_id) == Code.ILLEGAL_GENERATION
        assert await committed(node, 0, 1) == [(0, 5, "note"), (1, -1, "")]
        assert await commit(node, 8, joined.generation_id, joined.member_id) == Code.NONE
        assert await committed(node) == [(0, 8, "note")], "all that there is, where none is named"

    asyncio.run(scenario())


def test_offsets_and_groups_are_deleted_once_nobody_is_in(node: Node) -> None:
    async def delete_offset() -> list[int]:
        asked = [{"name": "t", "partitions": [{"partition_index": 0}]}]
        answer = await ask(node, "OffsetDelete", 0, group_id="g", topics=asked)
        return [answer.error_code, *(part.error_code for topic in answer.topics for part in topic.partitions)]

    async def delete_group() -> int:
        return int((await ask(node, "DeleteGroups", 1, groups_names=["g"])).results[0].error_code)

    async def scenario() -> None:
        assert [await delete_offset(), await delete_group()] == [[Code.GROUP_ID_NOT_FOUND], Code.GROUP_ID_NOT_FOUND]
        await commit(node, 5)
        await commit(node, 6, partition_index=1)
        joined = await enter(node)
        assert await delete_offset() == [Code.NONE, Code.GROUP_SUBSCRIBED_TO_TOPIC]
        assert await delete_group() == Code.NON_EMPTY_GROUP
        await ask(node, "LeaveGroup", 2, group_id="g", member_id=joined.member_id)
        assert await delete_offset() == [Code.NONE, Code.NONE]
        assert await committed(node) == [(1, 6, "note")]
        assert await delete_group() == Code.NONE
        assert (await group(node), await committed(node)) == (("Dead", []), [])

    asyncio.run(scenario())


def test_the_coordinator_is_this_node_for_groups_and_nobody_for_transactions(node: Node) -> None:
    async def scenario() -> None:
        node.port = 9999
        found = await ask(node, "FindCoordinator", 2, key="g", key_type=0)
        assert (found.error_code, found.node_id, found.port) == (Code.NONE, 1, 9999)
        refused = await ask(node, "FindCoordinator", 2, key="tx", key_type=1)
        assert refused.error_code == Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        assert "no transactions" in refused.error_message

    asyncio.run(scenario())


def test_a_member_is_named_by_the_beginning_of_its_instance(node: Node) -> None:
    """Its whole name, made longer, had no room in the answer: the connection was closed instead."""
    joined = asyncio.run(join(node, group_instance_id="i" * 32_000))
    assert joined.error_code == Code.NONE
    assert joined.member_id.startswith("i" * 200 + "-")
