"""Requests about consumer groups and their committed offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from stream.broker.errors import NO_TRANSACTIONS, Code, RefusedError
from stream.broker.groups import Group, Member, State
from stream.broker.node import HOST, NODE_ID, Node
from stream.broker.protocol import Call
from stream.broker.storage.offsets import Committed

Answer = Mapping[str, Any]

_LONGEST_METADATA = 4096
_GIVES_ID_FIRST = 4  # JoinGroup version from which a newcomer asks for its member id before it joins
_MANY_LEAVE = 3  # LeaveGroup version from which several members can leave in one request
_ANY_STATE = 4  # ListGroups version from which groups can be filtered by state


async def find_coordinator(node: Node, call: Call) -> Answer:
    if call.body.key_type != 0:
        refused = {"error_code": Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "error_message": NO_TRANSACTIONS}
        return refused | {"node_id": -1, "host": "", "port": -1}
    return {"node_id": NODE_ID, "host": HOST, "port": node.port}


async def join_group(node: Node, call: Call) -> Answer:
    body = call.body
    rebalance_ms = body.rebalance_timeout_ms if body.rebalance_timeout_ms >= 0 else body.session_timeout_ms
    asked = Member(
        member_id=body.member_id,
        instance_id=body.group_instance_id,
        client=(call.client_id, f"/{HOST}"),
        session_s=body.session_timeout_ms / 1000,
        rebalance_s=rebalance_ms / 1000,
        protocols={protocol.name: bytes(protocol.metadata) for protocol in body.protocols},
    )
    try:
        joined = await node.groups.join(body.group_id, asked, body.protocol_type, call.version >= _GIVES_ID_FIRST)
    except RefusedError as refused:
        member_id = refused.message if refused.code is Code.MEMBER_ID_REQUIRED else body.member_id
        return {"error_code": refused.code, "member_id": member_id}
    members = [{"member_id": i, "group_instance_id": instance, "metadata": m} for i, instance, m in joined.members]
    answer = {"generation_id": joined.generation, "protocol_name": joined.protocol, "leader": joined.leader}
    return answer | {"member_id": joined.member_id, "members": members}


async def sync_group(node: Node, call: Call) -> Answer:
    body = call.body
    given = {each.member_id: bytes(each.assignment) for each in body.assignments}
    try:
        who = (body.group_id, body.member_id, body.group_instance_id)
        return {"assignment": await node.groups.sync(*who, body.generation_id, given)}
    except RefusedError as refused:
        return {"error_code": refused.code}


async def heartbeat(node: Node, call: Call) -> Answer:
    body = call.body
    try:
        node.groups.heartbeat(body.group_id, body.member_id, body.group_instance_id, body.generation_id)
    except RefusedError as refused:
        return {"error_code": refused.code}
    return {}


async def leave_group(node: Node, call: Call) -> Answer:
    body = call.body
    if call.version < _MANY_LEAVE:
        return {"error_code": _leave(node, body.group_id, body.member_id, None)}
    left = [
        {
            "member_id": member.member_id,
            "group_instance_id": member.group_instance_id,
            "error_code": _leave(node, body.group_id, member.member_id, member.group_instance_id),
        }
        for member in body.members
    ]
    return {"members": left}


def _leave(node: Node, group_id: str, member_id: str, instance_id: str | None) -> Code:
    try:
        node.groups.leave(group_id, member_id, instance_id)
    except RefusedError as refused:
        return refused.code
    return Code.NONE


async def offset_commit(node: Node, call: Call) -> Answer:
    """Durable before it is answered."""
    body, code = call.body, Code.NONE
    try:
        who = (body.group_id, body.member_id, body.group_instance_id)
        node.groups.may_commit(*who, body.generation_id_or_member_epoch)
    except RefusedError as refused:
        code = refused.code
    positions: dict[tuple[str, int], Committed] = {}
    topics = []
    for topic in body.topics:
        parts = []
        for part in topic.partitions:
            error = code or _commit_error(node, topic.name, part)
            if not error:
                at = Committed(part.committed_offset, part.committed_metadata or "", part.committed_leader_epoch)
                positions[topic.name, part.partition_index] = at
            parts.append({"partition_index": part.partition_index, "error_code": error})
        topics.append({"name": topic.name, "partitions": parts})
    if positions:
        node.offsets.commit(body.group_id, positions)
        if node.options.fsync_every_s == 0:
            await asyncio.to_thread(node.offsets.flush)
    return {"topics": topics}


def _commit_error(node: Node, topic: str, part: Any) -> Code:
    if len(part.committed_metadata or "") > _LONGEST_METADATA:
        return Code.OFFSET_METADATA_TOO_LARGE
    try:
        node.topics.log(topic, part.partition_index)
    except RefusedError as refused:
        return refused.code
    return Code.NONE


async def offset_fetch(node: Node, call: Call) -> Answer:
    committed = node.offsets.of(call.body.group_id)
    if call.body.topics is None:
        wanted: dict[str, list[int]] = {}
        for topic, partition in committed:
            wanted.setdefault(topic, []).append(partition)
    else:
        wanted = {topic.name: topic.partition_indexes for topic in call.body.topics}
    topics = []
    for topic, partitions in wanted.items():
        parts = [_committed(part, committed.get((topic, part), Committed(-1))) for part in partitions]
        topics.append({"name": topic, "partitions": parts})
    return {"topics": topics}


def _committed(partition: int, at: Committed) -> Answer:
    answer = {"partition_index": partition, "committed_offset": at.offset, "metadata": at.metadata}
    return answer | {"committed_leader_epoch": at.leader_epoch}


async def offset_delete(node: Node, call: Call) -> Answer:
    group = node.groups.find(call.body.group_id)
    if group is None:
        return {"error_code": Code.GROUP_ID_NOT_FOUND}
    code = Code.GROUP_SUBSCRIBED_TO_TOPIC if group.members else Code.NONE
    topics = []
    for topic in call.body.topics:
        parts = [{"partition_index": part.partition_index, "error_code": code} for part in topic.partitions]
        for part in topic.partitions if not code else ():
            node.offsets.drop(group.group_id, topic.name, part.partition_index)
        topics.append({"name": topic.name, "partitions": parts})
    return {"topics": topics}


async def list_groups(node: Node, call: Call) -> Answer:
    wanted = call.body.states_filter if call.version >= _ANY_STATE else None
    groups = [group for group in node.groups.all() if not wanted or group.state.value in wanted]
    fields = ({"group_id": g.group_id, "protocol_type": g.protocol_type, "group_state": g.state.value} for g in groups)
    return {"groups": list(fields)}


async def describe_groups(node: Node, call: Call) -> Answer:
    return {"groups": [_described(group_id, node.groups.find(group_id)) for group_id in call.body.groups]}


def _described(group_id: str, group: Group | None) -> Answer:
    if group is None:
        return {"group_id": group_id, "group_state": "Dead"}
    stable = group.state is State.STABLE
    members = [
        {
            "member_id": member.member_id,
            "group_instance_id": member.instance_id,
            "client_id": member.client[0],
            "client_host": member.client[1],
            "member_metadata": member.protocols.get(group.protocol, b"") if stable else b"",
            "member_assignment": member.assignment,
        }
        for member in group.members.values()
    ]
    answer = {"group_id": group_id, "group_state": group.state.value, "protocol_type": group.protocol_type}
    return answer | {"protocol_data": group.protocol if stable else "", "members": members}


async def delete_groups(node: Node, call: Call) -> Answer:
    results = []
    for group_id in call.body.groups_names:
        code = Code.NONE
        try:
            node.groups.delete(group_id)
        except RefusedError as refused:
            code = refused.code
        results.append({"group_id": group_id, "error_code": code})
    return {"results": results}
