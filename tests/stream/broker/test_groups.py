"""Groups: who is in, in which generation, with which part; agreed anew with everyone who comes, leaves or falls silent.

That real Kafka says the same is in test_conformance.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from stream.broker.errors import Code, RefusedError
from stream.broker.groups import Groups, Joined, Member, State
from stream.broker.storage.offsets import Offsets


class Members:
    """Some that join group `g`."""

    def __init__(self, folder: Path) -> None:
        self.groups = Groups(Offsets(folder / "journal"))

    async def join(self, member_id: str = "", *, instance: str | None = None, **given: Any) -> Joined:
        wanted = {"session_s": 10.0, "rebalance_s": 10.0, "protocols": {"range": b"wants"}, **given}
        asked = Member(member_id=member_id, instance_id=instance, client=("me", "/here"), **wanted)
        return await self.groups.join("g", asked, "consumer", give_id_first=False)

    async def sync(self, joined: Joined, given: dict[str, bytes] | None = None, instance: str | None = None) -> bytes:
        return await self.groups.sync("g", joined.member_id, instance, joined.generation, given or {})

    def beat(self, joined: Joined, instance: str | None = None) -> Code:
        return self.code(lambda: self.groups.heartbeat("g", joined.member_id, instance, joined.generation))

    def commit(self, member_id: str, generation: int) -> Code:
        return self.code(lambda: self.groups.may_commit("g", member_id, None, generation))

    async def alone(self, **given: Any) -> Joined:
        """One that has joined and has everything."""
        joined = await self.join(**given)
        assert await self.sync(joined, {joined.member_id: b"all"}, given.get("instance")) == b"all"
        return joined

    @property
    def state(self) -> State:
        group = self.groups.find("g")
        assert group is not None
        return group.state

    @staticmethod
    def code(act: Any) -> Code:
        try:
            act()
        except RefusedError as refused:
            return refused.code
        return Code.NONE


@pytest.fixture
def members(tmp_path: Path) -> Members:
    return Members(tmp_path)


async def starts(waits: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Runs until it waits for others."""
    task = asyncio.create_task(waits)
    await asyncio.sleep(0)
    return task


def test_a_newcomer_has_everyone_join_again_and_the_leader_parts_the_work(members: Members) -> None:
    async def scenario() -> None:
        a = await members.alone()
        assert (a.generation, a.leader, a.members) == (1, a.member_id, [(a.member_id, None, b"wants")])
        entering = await starts(members.join())
        assert not entering.done(), "nobody is in before all are"
        assert members.beat(a) == Code.REBALANCE_IN_PROGRESS
        again = await members.join(a.member_id)
        b = await entering
        assert (again.generation, b.generation, b.leader) == (2, 2, a.member_id)
        assert ({member for member, _, _ in again.members}, b.members) == ({a.member_id, b.member_id}, [])
        waiting = await starts(members.sync(b))
        assert not waiting.done()
        assert await members.sync(again, {a.member_id: b"left", b.member_id: b"right"}) == b"left"
        assert await waiting == b"right"
        assert (members.beat(again), members.beat(b), members.beat(a)) == (
            *(Code.NONE, Code.NONE),
            Code.ILLEGAL_GENERATION,
        )

    asyncio.run(scenario())


def test_who_leaves_gives_up_its_part(members: Members) -> None:
    async def scenario() -> None:
        a = await members.alone()
        entering = await starts(members.join())
        await members.join(a.member_id)
        b = await entering
        members.groups.leave("g", a.member_id, None)
        assert (members.beat(a), members.beat(b)) == (Code.UNKNOWN_MEMBER_ID, Code.REBALANCE_IN_PROGRESS)
        alone = await members.join(b.member_id)
        assert (alone.leader, len(alone.members)) == (b.member_id, 1)
        members.groups.leave("g", b.member_id, None)
        assert members.state is State.EMPTY

    asyncio.run(scenario())


def test_who_falls_silent_is_evicted_and_holds_nobody_up(members: Members) -> None:
    async def scenario() -> None:
        silent = await members.alone(session_s=0.2)
        watching = asyncio.create_task(members.groups.watch())
        found = await asyncio.wait_for(members.join(), 10)
        assert (found.leader, len(found.members)) == (found.member_id, 1)
        assert members.beat(silent) == Code.UNKNOWN_MEMBER_ID
        watching.cancel()

    asyncio.run(scenario())


def test_a_static_member_takes_its_old_place_and_its_former_self_is_fenced(members: Members) -> None:
    async def scenario() -> None:
        old = await members.alone(instance="shop-1")
        back = await members.join(instance="shop-1")
        assert back.member_id != old.member_id
        assert (back.generation, back.members) == (old.generation, []), "nothing is agreed anew"
        assert await members.sync(back, instance="shop-1") == b"all"
        assert (members.beat(back, "shop-1"), members.beat(old, "shop-1")) == (Code.NONE, Code.FENCED_INSTANCE_ID)

    asyncio.run(scenario())


def test_only_who_is_in_the_present_generation_may_commit_and_anybody_while_nobody_is_in(members: Members) -> None:
    async def scenario() -> None:
        assert members.commit("", -1) == Code.NONE
        joined = await members.join()
        assert members.commit(joined.member_id, joined.generation) == Code.REBALANCE_IN_PROGRESS, "not parted yet"
        await members.sync(joined, {joined.member_id: b"all"})
        assert members.commit(joined.member_id, joined.generation) == Code.NONE
        assert members.commit(joined.member_id, joined.generation - 1) == Code.ILLEGAL_GENERATION
        assert members.commit("", -1) == members.commit("stranger", 1) == Code.UNKNOWN_MEMBER_ID

    asyncio.run(scenario())


def test_the_protocol_is_one_that_all_know(members: Members) -> None:
    async def scenario() -> None:
        a = await members.alone(protocols={"sticky": b"1", "range": b"2"})
        assert a.protocol == "sticky"
        with pytest.raises(RefusedError) as refused:
            await members.join(protocols={"other": b""})
        assert refused.value.code == Code.INCONSISTENT_GROUP_PROTOCOL
        entering = await starts(members.join(protocols={"range": b"3"}))
        again = await members.join(a.member_id, protocols={"sticky": b"1", "range": b"2"})
        assert (again.protocol, (await entering).protocol) == ("range", "range")
        assert {metadata for _, _, metadata in again.members} == {b"2", b"3"}

    asyncio.run(scenario())


def test_a_generation_is_durable_before_its_members_hear_of_it(members: Members, tmp_path: Path) -> None:
    joined = asyncio.run(members.join())
    again = Members(tmp_path)  # the process has died: the journal is as it was
    assert (again.beat(joined), again.state) == (Code.UNKNOWN_MEMBER_ID, State.EMPTY)
    assert asyncio.run(again.join()).generation > joined.generation


def test_a_group_is_deleted_with_its_offsets_once_nobody_is_in(members: Members) -> None:
    joined = asyncio.run(members.alone())
    assert members.code(lambda: members.groups.delete("g")) == Code.NON_EMPTY_GROUP
    members.groups.leave("g", joined.member_id, None)
    members.groups.delete("g")
    assert members.groups.find("g") is None
    assert members.code(lambda: members.groups.delete("g")) == Code.GROUP_ID_NOT_FOUND
