"""Rows that nobody touches go, from disk and topic; who comes back starts anew; nobody is counted twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.histories import UserRow
from store.histories import age_of as age_of_user
from store.items import ItemRow, age_of
from store.rows import RowStore
from store.settings import Settings
from stream.ingest.growth.expiry import CHUNK, LOOK_EVERY_S, LOOK_S, MOST_DUE, PASS_EVERY_S, Expiry
from stream.ingest.item_partition import ItemPartition
from stream.ingest.user_partition import UserPartition
from stream.kafka.records import Record
from stream.kafka.state_topics import EXPIRED, POSITION_KEY, ended_before_s, read_partition
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.ingest.owners import Owners, click, clicks, history, owners_on, signal
from tests.stream.log import settings_on

numbers = itertools.count()
DAY_S = 86_400
T = 1_800_000_000
"""When it begins: after the events of `click`."""


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += LOOK_S / 10
        return self.now


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[RowStore[ItemRow]]:
    opened = RowStore(tmp_path / "rows", ItemRow)
    opened.position.safe = 100
    yield opened
    opened.close()


def expiry_of(rows: RowStore[ItemRow], horizon_s: Callable[[str], float] = lambda _: 10.0) -> tuple[Expiry, Clock]:
    clock = Clock()
    return Expiry(rows, age_of, horizon_s, rows.remove, clock=clock), clock


def test_a_row_goes_once_its_end_is_safe(rows: RowStore[ItemRow]) -> None:
    rows.write({"old": ItemRow(5, touched_s=20), "new": ItemRow(6, touched_s=30), "timeless": ItemRow(7)})
    expiry, _ = expiry_of(rows)
    expiry.observe(31)
    expiry.look()
    ends = expiry.take()
    assert ends == {"old": 21}
    assert rows.get("old") is not None
    assert expiry.landed(ends) == ["old"]
    assert [key for key, _ in rows.scan()] == ["new", "timeless"]
    assert rows.get("old") is None
    assert expiry.landed(ends) == []


def test_what_was_touched_meanwhile_stays(rows: RowStore[ItemRow]) -> None:
    rows.write({key: ItemRow(5, touched_s=20) for key in "abc"})
    expiry, _ = expiry_of(rows)
    expiry.observe(99)
    expiry.look()
    rows.stage("a", ItemRow(9, touched_s=99))
    ends = expiry.take()
    assert ends.keys() == {"b", "c"}
    rows.stage("b", ItemRow(9, touched_s=99))
    assert expiry.landed(ends) == ["c"]
    rows.flush()
    assert expiry.landed({"a": 21, "b": 21}) == []


def test_what_is_not_safe_stays_and_so_does_everything_without_a_horizon(rows: RowStore[ItemRow]) -> None:
    rows.write({"unsafe": ItemRow(101, touched_s=20), "kept": ItemRow(5, touched_s=20)})
    expiry, _ = expiry_of(rows, lambda key: 0.0 if key == "kept" else 10.0)
    expiry.observe(10**9)
    expiry.look()
    assert expiry.take() == {}


def test_where_nothing_comes_nothing_goes(rows: RowStore[ItemRow]) -> None:
    rows.write({"old": ItemRow(5, touched_s=20)})
    expiry, _ = expiry_of(rows)
    expiry.look()
    assert expiry.take() == {}


def test_a_look_is_short_and_a_pass_goes_on_where_the_last_look_ended(rows: RowStore[ItemRow]) -> None:
    rows.write({f"{n:05}": ItemRow(5, touched_s=20) for n in range(12 * CHUNK + 1)})
    expiry, clock = expiry_of(rows)
    expiry.observe(99)
    expiry.look()
    first = expiry.take()
    assert 0 < len(first) < 12 * CHUNK
    expiry.look()
    assert expiry.take() == {}, "the next look comes later"
    clock.now += LOOK_EVERY_S
    expiry.look()
    assert first.keys() | expiry.take().keys() == {f"{n:05}" for n in range(12 * CHUNK + 1)}
    rows.write({"00000": ItemRow(6, touched_s=21)})
    clock.now += LOOK_EVERY_S
    expiry.look()
    assert expiry.take() == {}, "a pass has ended, the next begins later"
    clock.now += PASS_EVERY_S
    expiry.look()
    assert expiry.take()["00000"] == 22
    assert len(first) <= MOST_DUE


def test_the_age_is_read_without_the_rest_of_the_row() -> None:
    item = ItemRow(7, {1: 2}, neighbours={"a": 1.0}, vector=b"abcd", touched_s=123)
    assert age_of(msgspec.msgpack.encode(item)) == (7, 123)
    assert age_of(msgspec.msgpack.encode([7, {1: 2}])) == (7, 0), "a row of an earlier release"
    assert age_of_user(msgspec.msgpack.encode(UserRow(8, attributes={"a": "b"}, touched_s=5))) == (8, 5)


# ---- two owners on a broker ----


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, f"ex{next(numbers)}.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


def run(settings: Settings, scenario: Callable[[Owners], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with owners_on(settings) as owners:
            await scenario(owners)

    asyncio.run(inside())


async def absorb(owner: UserPartition | ItemPartition, at_s: int) -> None:
    """Takes what is on the log as of a time."""
    name = "engagements" if isinstance(owner, UserPartition) else "item-signals"
    topic = owner._settings.topic(name)
    records = [
        Record(topic, 0, r.offset, at_s * 1000, r.key, r.value, lambda: None)
        async for r in read_partition(owner._settings, topic, 0, owner.cursors[topic].ahead)
    ]
    await owner._take(records)


async def work(owner: UserPartition | ItemPartition, at_s: int) -> None:
    await absorb(owner, at_s)
    await owner._publish_once()
    owner.side.expiry._next_at = 0.0
    await owner._publish_once()


def expiring(owner: Any) -> Any:
    owner.side.expiry._horizon_s = lambda _: DAY_S
    return owner


async def told(owners: Owners, topic: str, key: bytes) -> list[tuple[bool, int]]:
    """For each record of a key: whether it holds a row, and which end it is."""
    return [(r.value is not None, ended_before_s(r)) for r in await owners.log_of(topic) if r.key == key]


def test_a_user_goes_and_comes_back_anew(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", click(0, "old"), click(1, "other"))
        a = expiring(await owners.users("A"))
        await work(a, T)
        await owners.publish("engagements", click(2, "other"))
        await work(a, T + 1 + DAY_S)
        assert history(a, "old") == []
        assert [key for key, _ in a.side.rows.scan()] == ["other"]
        assert await told(owners, "user-states", b"old") == [(True, -1), (False, T + 1)]
        b = expiring(await owners.users("B", generation=2))  # an empty disk
        assert [key for key, _ in b.side.rows.scan()] == ["other"]
        await owners.publish("engagements", click(3, "old"), click(0, "old"))
        await work(b, T + 2 + DAY_S)
        assert history(b, "old") == ["e3", "e0"], "its window went with it"
        c = await owners.users("A-again", generation=3)
        assert history(c, "old") == ["e3", "e0"]
        assert history(c, "other") == ["e1", "e2"]

    run(settings, scenario)


def test_an_item_goes_and_its_vector_with_it(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.publish("item-signals", signal(0, "old"), signal(1, "other"))
        a = expiring(await owners.items("A"))
        await work(a, T)
        assert a.side.vectors.store.read(["old"]).sights_B.tolist() == [1]
        await owners.publish("item-signals", signal(2, "other"))
        await work(a, T + 1 + DAY_S)
        assert (clicks(a, "old"), clicks(a, "other")) == (0, 2)
        assert a.side.vectors.store.read(["old"]).sights_B.tolist() == [0]
        await owners.publish("item-signals", signal(3, "old"), signal(0, "old"))  # the second is a repetition
        await work(a, T + 2 + DAY_S)
        assert clicks(a, "old") == 1
        b = await owners.items("B", generation=2)
        assert (clicks(b, "old"), clicks(b, "other")) == (1, 2)

    run(settings, scenario)


def test_a_former_owners_late_end_does_not_end_what_came_back(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", click(0, "v"))
        a = expiring(await owners.users("A"))
        await work(a, T)
        a.side.expiry.observe(T + 1000 + DAY_S)
        a.side.expiry._next_at = 0.0
        frozen = a.publish()  # the end of v; A stands still
        await owners.publish("engagements", click(1, "v"))
        b = await owners.users("B", generation=2)
        await work(b, T + 500)
        assert history(b, "v") == ["e0", "e1"]
        with pytest.raises(Exception, match="another owner"):
            await frozen
        assert (await told(owners, "user-states", b"v"))[-1] == (False, T + 1)
        c = await owners.users("C", generation=3)
        assert history(c, "v") == ["e0", "e1"], "an empty disk takes the row that was touched later"
        await c._publish_once()
        assert (await told(owners, "user-states", b"v"))[-1] == (True, -1), "and has it written last, for compaction"

    run(settings, scenario)


def test_a_row_that_a_former_owner_writes_after_its_end_is_ended_again(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", click(0, "v"))
        a = await owners.users("A")
        await work(a, T)
        a.side.rows.stage("v", a.side.rows.get("v"))
        frozen = a.publish()  # v once more; A stands still
        b = expiring(await owners.users("B", generation=2))
        await owners.publish("engagements", click(1, "w"))
        await work(b, T + 1 + DAY_S)
        assert history(b, "v") == []
        with pytest.raises(Exception, match="another owner"):
            await frozen
        before = b.side.rows.position.state_offset
        await b._publish_once()
        await b._publish_once()
        assert (await told(owners, "user-states", b"v"))[-1] == (False, T + 1)
        assert b.side.rows.position.state_offset > before
        c = await owners.users("C", generation=3)
        assert (history(c, "v"), history(c, "w")) == ([], ["e1"])

    run(settings, scenario)


def test_a_killed_owner_ends_the_row_again(settings: Settings) -> None:
    """The end is safe, the row is still on the disk."""

    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", click(0, "v"))
        a = await owners.users("A")
        await work(a, T)
        owners.close(a)
        emitter = await owners.emitter()
        ends = [
            (b"v", None, [("generation", b"1"), (EXPIRED, str(T + 1).encode())]),
            (b"w", None, [("generation", b"1"), (EXPIRED, b"5")]),
        ]
        await emitter.send_rows("user-states", 0, ends)
        again = await owners.users("A", generation=2)
        assert history(again, "v") == []
        assert [r.key for r in await owners.log_of("user-states")][-1] == POSITION_KEY

    run(settings, scenario)
