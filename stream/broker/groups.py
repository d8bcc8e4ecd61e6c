"""Consumer groups (Kafka's classic protocol): who reads which partition, agreed anew whenever a member comes or goes.

A group is empty, preparing (waiting until every member has joined again), completing (waiting for the leader's
assignment) or stable. A rebalance begins at once, without Kafka's initial delay, and ends when all members have
joined or the longest rebalance timeout is over; who has not joined by then, or has not been heard of for its session
timeout, is evicted. A generation is durable before its members hear of it. A member that gives an instance id
(static membership) and comes back within its session takes its old place without a rebalance.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from stream.broker.errors import Code, RefusedError
from stream.broker.protocol import MOST_NAMED
from stream.broker.storage.offsets import Offsets

_LONGEST_SESSION_S = 1800.0
_SHORTEST_SESSION_S = 0.1
_SWEEP_S = 0.1


class State(Enum):
    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


class Joined(NamedTuple):
    """What a member learns when a rebalance is over; only the leader gets the members' metadata."""

    generation: int
    protocol: str
    leader: str
    member_id: str
    members: list[tuple[str, str | None, bytes]]


@dataclass
class Member:
    """A consumer, as it asked to join."""

    member_id: str
    instance_id: str | None
    client: tuple[str, str]  # its own name, and its host
    session_s: float
    rebalance_s: float
    protocols: dict[str, bytes]
    assignment: bytes = b""
    deadline: float = 0.0
    joining: asyncio.Future[Joined] | None = None
    syncing: asyncio.Future[bytes] | None = None


@dataclass
class Group:
    """The volatile half of a group; offsets and generations are in `Offsets`."""

    group_id: str
    generation: int
    state: State = State.EMPTY
    protocol_type: str = ""
    protocol: str = ""
    leader: str = ""
    deadline: float = 0.0
    members: dict[str, Member] = field(default_factory=dict)
    expected: dict[str, float] = field(default_factory=dict)  # member ids given out, until when they may be used

    def static(self, instance_id: str | None) -> Member | None:
        if instance_id is None:
            return None
        return next((member for member in self.members.values() if member.instance_id == instance_id), None)


class Groups:
    """All groups of the broker, and the clock that evicts silent members."""

    def __init__(self, offsets: Offsets) -> None:
        self._offsets = offsets
        self._groups: dict[str, Group] = {}
        for group_id in offsets.groups():
            self._group(group_id)

    def all(self) -> list[Group]:
        return list(self._groups.values())

    def find(self, group_id: str) -> Group | None:
        return self._groups.get(group_id)

    async def join(self, group_id: str, asked: Member, protocol_type: str, give_id_first: bool) -> Joined:
        """Enters the group (or says that one is still in it) and waits until the rebalance is over."""
        group = self._group(_named(group_id))
        self._check_join(group, asked, protocol_type)
        old = group.static(asked.instance_id)
        newcomer = asked.member_id == ""
        if newcomer:
            asked.member_id = f"{(asked.instance_id or asked.client[0])[:MOST_NAMED]}-{uuid.uuid4()}"
            if old is not None:
                replaced = self._replace(group, old, asked)
                if replaced is not None:
                    return replaced
            elif asked.instance_id is None and give_id_first:
                group.expected[asked.member_id] = time.monotonic() + asked.session_s
                raise RefusedError(Code.MEMBER_ID_REQUIRED, asked.member_id)
        member = self._enter(group, asked, protocol_type, newcomer)
        if group.state in (State.STABLE, State.COMPLETING) and not self._must_rebalance(group, member, asked):
            return self._joined(group, member)
        member.protocols = asked.protocols
        member.session_s, member.rebalance_s = asked.session_s, asked.rebalance_s
        if member.joining is not None and not member.joining.done():
            member.joining.set_exception(RefusedError(Code.REBALANCE_IN_PROGRESS))  # the same member asked again
        waiting: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        member.joining = waiting
        self._prepare(group)
        return await waiting

    async def sync(
        self, group_id: str, member_id: str, instance_id: str | None, generation: int, given: dict[str, bytes]
    ) -> bytes:
        """Hands in the leader's assignment, or waits for it; the member's own part."""
        group, member = self._member(group_id, member_id, instance_id)
        self._check_generation(group, generation)
        if group.state is State.PREPARING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS)
        self._heard(member)
        if group.state is State.COMPLETING and member_id == group.leader:
            group.state = State.STABLE
            for other in group.members.values():
                other.assignment = given.get(other.member_id, b"")
                _resolve(other, other.assignment)
                self._heard(other)
        if group.state is State.STABLE:
            return member.assignment
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        member.syncing = waiting
        return await waiting

    def heartbeat(self, group_id: str, member_id: str, instance_id: str | None, generation: int) -> None:
        group, member = self._member(group_id, member_id, instance_id)
        self._check_generation(group, generation)
        self._heard(member)
        if group.state is State.PREPARING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS)

    def leave(self, group_id: str, member_id: str, instance_id: str | None) -> None:
        group = self._groups.get(group_id)
        static = group.static(instance_id) if group else None
        if group is not None and static is not None and member_id == "":
            member_id = static.member_id  # an administrator removes a static member by its instance id
        group, member = self._member(group_id, member_id, instance_id)
        self._evict(group, [member])

    def may_commit(self, group_id: str, member_id: str, instance_id: str | None, generation: int) -> None:
        """Refuses a commit by anyone but a present member, or by someone outside while the group has members."""
        group = self._group(_named(group_id))
        if generation < 0 and not group.members:
            return
        _, member = self._member(group_id, member_id, instance_id)
        self._check_generation(group, generation)
        if group.state is State.COMPLETING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS)
        self._heard(member)

    def delete(self, group_id: str) -> None:
        group = self._groups.get(group_id)
        if group is None:
            raise RefusedError(Code.GROUP_ID_NOT_FOUND)
        if group.members:
            raise RefusedError(Code.NON_EMPTY_GROUP)
        del self._groups[group_id]
        self._offsets.forget(group_id)

    async def watch(self) -> None:
        """Evicts members that have gone silent; runs until cancelled."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            if now - last > 10 * _SWEEP_S:  # the broker itself stood still: nobody's heartbeat could be heard
                self._extend(now - last)
            last = now
            for group in self.all():
                self._sweep(group, now)

    def _group(self, group_id: str) -> Group:
        if group_id not in self._groups:
            self._groups[group_id] = Group(group_id, self._offsets.generation(group_id))
        return self._groups[group_id]

    def _check_join(self, group: Group, asked: Member, protocol_type: str) -> None:
        if not _SHORTEST_SESSION_S <= asked.session_s <= _LONGEST_SESSION_S:
            raise RefusedError(Code.INVALID_SESSION_TIMEOUT)
        others = [member for member in group.members.values() if member.member_id != asked.member_id]
        if group.members and protocol_type != group.protocol_type:
            raise RefusedError(Code.INCONSISTENT_GROUP_PROTOCOL)
        if not protocol_type or not set(asked.protocols).intersection(*(member.protocols for member in others)):
            raise RefusedError(Code.INCONSISTENT_GROUP_PROTOCOL)

    def _enter(self, group: Group, asked: Member, protocol_type: str, newcomer: bool) -> Member:
        """The group's member that asks, entered now if it may."""
        member = group.members.get(asked.member_id)
        if member is not None:
            if member.instance_id != asked.instance_id:
                raise RefusedError(Code.FENCED_INSTANCE_ID)
            return member
        given = group.expected.pop(asked.member_id, None)
        if group.static(asked.instance_id) is not None:
            raise RefusedError(Code.FENCED_INSTANCE_ID)
        if given is None and not newcomer:
            raise RefusedError(Code.UNKNOWN_MEMBER_ID)
        group.members[asked.member_id] = asked
        group.protocol_type = protocol_type
        return asked

    def _replace(self, group: Group, old: Member, new: Member) -> Joined | None:
        """A static member is back under a new id; its place at once, unless the group is to be agreed anew."""
        del group.members[old.member_id]
        _fail(old, RefusedError(Code.FENCED_INSTANCE_ID))
        new.assignment = old.assignment
        group.members[new.member_id] = new
        self._heard(new)
        named_leader = group.leader
        if group.leader == old.member_id:
            group.leader = new.member_id
        if group.state is not State.STABLE or new.protocols != old.protocols:
            return None
        # Its old id as the leader's: nobody computes an assignment that a stable group would not hand out.
        return Joined(group.generation, group.protocol, named_leader, new.member_id, [])

    def _must_rebalance(self, group: Group, member: Member, asked: Member) -> bool:
        changed = member is asked or member.protocols != asked.protocols
        return changed or (group.state is State.STABLE and member.member_id == group.leader)

    def _prepare(self, group: Group) -> None:
        if group.state is not State.PREPARING:
            for member in group.members.values():
                _fail_sync(member, RefusedError(Code.REBALANCE_IN_PROGRESS))
            group.state = State.PREPARING
            longest_s = max((member.rebalance_s for member in group.members.values()), default=0.0)
            group.deadline = time.monotonic() + longest_s
        self._complete(group)

    def _complete(self, group: Group) -> None:
        """Ends the rebalance if everyone has joined."""
        if any(member.joining is None for member in group.members.values()):
            return
        group.generation += 1
        self._offsets.begin(group.group_id, group.generation)
        if not group.members:
            group.state, group.leader, group.protocol = State.EMPTY, "", ""
            return
        group.state = State.COMPLETING
        if group.leader not in group.members:
            group.leader = next(iter(group.members))
        group.protocol = _vote(group)
        for member in group.members.values():
            self._heard(member)
            joining, member.joining, member.assignment = member.joining, None, b""
            if joining is not None and not joining.done():
                joining.set_result(self._joined(group, member))

    def _joined(self, group: Group, member: Member) -> Joined:
        members = []
        if member.member_id == group.leader:
            members = [(m.member_id, m.instance_id, m.protocols[group.protocol]) for m in group.members.values()]
        return Joined(group.generation, group.protocol, group.leader, member.member_id, members)

    def _member(self, group_id: str, member_id: str, instance_id: str | None) -> tuple[Group, Member]:
        group = self._groups.get(_named(group_id))
        if group is None:
            raise RefusedError(Code.UNKNOWN_MEMBER_ID)
        static = group.static(instance_id)
        if static is not None and static.member_id != member_id:
            raise RefusedError(Code.FENCED_INSTANCE_ID)
        if member_id not in group.members:
            raise RefusedError(Code.UNKNOWN_MEMBER_ID)
        return group, group.members[member_id]

    def _check_generation(self, group: Group, generation: int) -> None:
        if generation != group.generation:
            raise RefusedError(
                Code.ILLEGAL_GENERATION, f"generation {generation} is over: {group.generation} is current"
            )

    def _heard(self, member: Member) -> None:
        member.deadline = time.monotonic() + member.session_s

    def _evict(self, group: Group, members: list[Member]) -> None:
        for member in members:
            del group.members[member.member_id]
            _fail(member, RefusedError(Code.UNKNOWN_MEMBER_ID))
        if members:
            self._prepare(group)

    def _sweep(self, group: Group, now: float) -> None:
        group.expected = {member_id: until for member_id, until in group.expected.items() if until > now}
        waits = group.state is State.PREPARING and now >= group.deadline
        silent = [m for m in group.members.values() if m.joining is None and (waits or _gone(m, now))]
        self._evict(group, silent)

    def _extend(self, seconds: float) -> None:
        for group in self._groups.values():
            group.deadline += seconds
            for member in group.members.values():
                member.deadline += seconds


def _named(group_id: str) -> str:
    if not group_id:
        raise RefusedError(Code.INVALID_GROUP_ID, "a group needs a name")
    return group_id


def _gone(member: Member, now: float) -> bool:
    return member.syncing is None and now >= member.deadline


def _vote(group: Group) -> str:
    """The protocol that most members like best among those that all of them know."""
    members = list(group.members.values())
    common = set(members[0].protocols).intersection(*(member.protocols for member in members))
    votes = Counter(next(name for name in member.protocols if name in common) for member in members)
    return votes.most_common(1)[0][0]


def _resolve(member: Member, assignment: bytes) -> None:
    if member.syncing is not None and not member.syncing.done():
        member.syncing.set_result(assignment)
    member.syncing = None


def _fail_sync(member: Member, error: RefusedError) -> None:
    if member.syncing is not None and not member.syncing.done():
        member.syncing.set_exception(error)
    member.syncing = None


def _fail(member: Member, error: RefusedError) -> None:
    _fail_sync(member, error)
    if member.joining is not None and not member.joining.done():
        member.joining.set_exception(error)
    member.joining = None
