"""Forgetting is final: on the owner's disk and on a former owner's, in training windows, ranking examples, dead
letters, moved events and requests; and who comes back begins anew. On a real broker."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition

from store.events import Refusal
from store.histories import UserRow
from store.items import ItemCard
from store.log import Log, forgotten_in
from store.settings import Settings
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.protocol.refusals import send_refusals
from stream.ingest.user_partition import UserPartition
from stream.kafka.connections import admin_client
from stream.kafka.dead_letters import read_letters, replay
from stream.kafka.records import Record, Refused
from stream.kafka.state_topics import read_partition
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from stream.web.request_partition import RequestPartition
from tests.clusters import EmbeddedCluster
from tests.stream.ingest.owners import Owners, click, history, owners_on
from tests.stream.log import read_topic, settings_on
from tests.stream.web.fake_service import FakeService
from trainer.ranking.impressions import ImpressionOutcome
from trainer.runs.log_window import read_window
from trainer.runs.ranker_job import RankerJob

numbers = itertools.count()


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster, tmp_path) -> Settings:
    name = f"fg{next(numbers)}."
    settings = settings_on(
        embedded_broker.bootstrap_servers, name, kafka={"partitions": 1}, checkpoint_dir=str(tmp_path)
    )
    create_topics(settings)
    return settings


def run(settings: Settings, scenario: Callable[[Owners], Coroutine[Any, Any, None]]) -> None:
    async def opened() -> None:
        async with owners_on(settings) as owners:
            await scenario(owners)

    asyncio.run(opened())


async def work(owners: Owners, owner: UserPartition) -> None:
    """Profiles, then engagements, from the cursors on; published twice."""
    for name in ("profiles", "engagements"):
        topic = owners.settings.topic(name)
        begin = owner.cursors[topic].ahead or 0
        found = [r async for r in read_partition(owners.settings, topic, 0, begin)]
        await owner._take([Record(topic, 0, r.offset, r.timestamp, r.key, r.value, lambda: None) for r in found])
    await owner._publish_once()
    await owner._publish_once()


def profile(user: str, **attributes: str) -> tuple[bytes, bytes]:
    said = {"user_id": user, "updated_at": time.time(), "attributes": attributes}
    return user.encode(), json.dumps(said).encode()


def lose(settings: Settings, name: str) -> None:
    """What compaction leaves of tombstones in the end: nothing of them, nor of what was before."""
    with admin_client(settings) as admin:
        admin.delete_records({TopicPartition(settings.topic(name), 0): -1})


def in_window(settings: Settings) -> list[str]:
    with Log(settings.kafka) as log:
        return sorted(logged.event.event_id for logged in read_window(log, settings, {}, time.time()).engagements)


def test_who_was_forgotten_stays_so_when_both_tombstones_are_gone(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", *(click(n, "shy") for n in range(3)), click(5, "back"), click(6, "other"))
        former = await owners.users("former")
        await work(owners, former)
        owners.close(former)
        await asyncio.sleep(0.01)
        await owners.publish("profiles", (b"shy", None), (b"back", None))
        owner = await owners.users("owner")
        await work(owners, owner)
        owners.close(owner)
        await owners.publish("profiles", profile("back", country="NO"))
        assert in_window(settings) == ["e6"]
        await asyncio.to_thread(lose, settings, "profiles")
        assert in_window(settings) == ["e6"]
        again = await owners.users("former")  # its disk comes back after a long absence
        assert history(again, "shy") == history(again, "back") == []
        await owners.publish("engagements", click(9, "shy"))
        await work(owners, again)
        assert history(again, "shy") == ["e9"]
        assert history(await owners.users("empty"), "shy") == ["e9"]
        assert in_window(settings) == ["e6", "e9"]

    run(settings, scenario)


def test_a_row_that_a_former_owner_publishes_late_is_not_taken_and_is_taken_back(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", click(0, "shy"))
        owner = await owners.users("owner")
        await work(owners, owner)
        late = [r for r in await owners.log_of("user-states") if r.key == b"shy"][-1].value
        await asyncio.sleep(0.01)
        await owners.publish("profiles", (b"shy", None))
        await work(owners, owner)
        owners.close(owner)
        await owners.publish("user-states", (b"shy", late))
        for disk in ("owner", "empty"):
            opened = await owners.users(disk)
            assert history(opened, "shy") == []
            await opened._publish_once()
            assert [r for r in await owners.log_of("user-states") if r.key == b"shy"][-1].value is None
            owners.close(opened)

    run(settings, scenario)


def test_a_request_to_forget_that_is_read_again_leaves_who_has_come_back(settings: Settings) -> None:
    """The crash came before the position was safe; the group begins before it."""

    async def scenario(owners: Owners) -> None:
        await owners.publish("profiles", (b"shy", None))
        await asyncio.sleep(0.01)
        owner = await owners.users("disk")
        await work(owners, owner)
        await owners.publish("engagements", click(1, "shy"))
        await work(owners, owner)
        owner.side.rows.position.profiles_safe = owner.side.rows.position.profiles = -1
        owner.side.rows.write({})
        owners.close(owner)
        again = await owners.users("disk")
        again.cursors[settings.topic("profiles")].ahead = 0
        await work(owners, again)
        assert history(again, "shy") == ["e1"]
        assert history(await owners.users("empty"), "shy") == ["e1"]

    run(settings, scenario)


def test_what_is_moved_or_sent_again_keeps_the_time_at_which_it_came(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        topic = settings.topic("engagements")
        before_ms = int(time.time() * 1000) - 5000
        key, value = click(1, "shy")
        emitter = await owners.emitter()
        bad = Record(topic, 0, 0, before_ms, key, b'{"user_id": "shy"}', lambda: None)
        refusals = [Refused(bad, Refusal("missing_field", "", bad.value or b""))]
        await emitter.settle(await send_refusals(emitter, Metrics(), "engagements", refusals))
        assert len(list(read_letters(settings))) == 1
        letter = next(read_letters(settings))
        await owners.publish("profiles", (b"shy", None))
        owner = await owners.users("disk")
        await work(owners, owner)
        assert list(read_letters(settings)) == []  # nor is it to be seen
        assert replay(settings, [letter]) == 1
        sent = read_topic(settings, "engagements")[-1]
        assert dict(sent.headers)["came_at_ms"] == str(before_ms).encode()
        moved = [("came_at_ms", str(before_ms).encode())]
        await emitter.settle([await emitter.send("engagements", value, key=key, partition=0, headers=moved)])
        await emitter.settle([await emitter.send("profiles", profile("shy")[1], key=key, partition=0, headers=moved)])
        old = Record(topic, 0, 1, int(time.time() * 1000) + 9000, key, value, lambda: None, before_ms)
        await owner._take([old])
        assert history(owner, "shy") == []
        assert in_window(settings) == []
        with Log(settings.kafka) as log:
            assert read_window(log, settings, {}, time.time()).attributes == {}

    run(settings, scenario)


def test_the_ledger_keeps_every_request(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        owner = await owners.users("disk")
        for _ in range(2):
            await owners.publish("profiles", (b"shy", None))
            await work(owners, owner)
        found = await owners.log_of("forgotten-users")
        assert [r.key for r in found] == [b"shy\0" + b"0", b"shy\0" + b"1"]
        assert forgotten_in(found)["shy"].offset == 1
        strange = [SimpleNamespace(key=b"k", value=value) for value in (b"strange", None)]
        assert forgotten_in(strange) == {}

    run(settings, scenario)


def test_examples_from_before_are_not_learned_from(settings: Settings) -> None:
    heard: list[ImpressionOutcome] = []

    async def scenario(owners: Owners) -> None:
        for user in ("shy", "other"):
            outcome = ImpressionOutcome(user_id=user, item_id="i", kind="click", occurred_at=1.0, weight=1.0)
            await owners.publish("ranking-examples", (user.encode(), msgspec.msgpack.encode(outcome)))
        await asyncio.sleep(0.01)
        await owners.publish("profiles", (b"shy", None))
        await work(owners, await owners.users("disk"))

    run(settings, scenario)
    job = RankerJob(settings)
    job._impressions.engage = heard.append  # type: ignore[method-assign]
    job._read(time.time())
    job.close()
    assert [one.user_id for one in heard] == ["other"]


def test_a_request_from_before_is_not_answered(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        emitter, metrics = await owners.emitter(), Metrics()
        context = PartitionContext(settings=settings, emitter=emitter, metrics=metrics)
        forgotten_at_ms = {"shy": 7000}
        partition = RequestPartition(0, context, FakeService(metrics), lambda user: forgotten_at_ms.get(user, -1))
        topic = settings.topic("recommend-requests")

        def asked(user: str, at_ms: int) -> Record:
            return Record(topic, 0, 0, at_ms, user.encode(), json.dumps({"user_id": user}).encode(), lambda: None)

        await emitter.settle(await partition.absorb([asked("shy", 7000), asked("shy", 7001), asked("other", 5)]))
        assert sorted(r.key for r in read_topic(settings, "recommendations")) == [b"other", b"shy"]

    run(settings, scenario)


def test_rows_of_earlier_releases_are_read() -> None:
    old = msgspec.msgpack.encode([4, [], b"", {"country": "NO"}, 5.0])
    assert msgspec.msgpack.decode(old, type=UserRow).life == -1
    card = {"item_id": "i", "codebook": "c", "codes": [1], "suffix": 0, "assigned_at": 1, "uploaded_at": 1}
    read = msgspec.json.decode(json.dumps({**card, "published_at_ms": 3}), type=ItemCard)
    assert read.upload_offset == -1
