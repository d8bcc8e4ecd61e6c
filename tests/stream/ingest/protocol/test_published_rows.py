"""Published rows on a real broker: whatever a former owner still writes, and however late, the further row counts, is
the last on the topic in the end, and nobody's disk skips what another has written."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import pytest

from store.histories import Entry, UserRow
from store.items import ItemRow
from store.rows import Position
from store.settings import Settings
from stream.ingest.protocol.published_rows import LostPartitionError
from stream.kafka.records import Record
from stream.kafka.state_topics import GENERATION, POSITION_KEY, Announcement, decode_announcement, encode_announcement
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.ingest.owners import Owners, click, clicks, history, owners_on, signal
from tests.stream.log import settings_on

numbers = itertools.count()


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, f"pr{next(numbers)}.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


def run(settings: Settings, scenario: Callable[[Owners], Awaitable[None]]) -> None:
    async def inside() -> None:
        async with owners_on(settings) as owners:
            await scenario(owners)

    asyncio.run(inside())


def test_users_a_publication_that_comes_late_does_not_skip_the_successors(settings: Settings) -> None:
    """A stands still in the middle of a publication while B takes over; A's comes through, and A gets the partition
    back with its disk."""

    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", click(0, "v"), click(1, "w"))
        a = await owners.users("A")
        await owners.work(a)
        await owners.publish("engagements", click(2, "w"))
        await owners.absorb(a)
        frozen = a.publish()
        await owners.publish("engagements", click(3, "v"))
        b = await owners.users("B")
        await owners.work(b)
        await frozen
        a.keep_safe()
        owners.close(a)
        await owners.publish("engagements", click(4, "w"))
        await owners.work(b)
        owners.close(b)
        again = await owners.users("A")
        await owners.work(again)
        assert (history(again, "v"), history(again, "w")) == (["e0", "e3"], ["e1", "e2", "e4"])
        await owners.publish("engagements", click(5, "v"))
        await owners.work(again)
        empty = await owners.users("empty")
        assert (history(empty, "v"), history(empty, "w")) == (["e0", "e3", "e5"], ["e1", "e2", "e4"])

    run(settings, scenario)


def test_items_a_publication_that_comes_late_does_not_skip_the_successors(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.publish("item-signals", signal(0, "v"), signal(1, "w"))
        a = await owners.items("A")
        await owners.work(a)
        await owners.publish("item-signals", signal(2, "w"))
        await owners.absorb(a)
        frozen = a.publish()
        await owners.publish("item-signals", signal(3, "v"))
        b = await owners.items("B")
        await owners.work(b)
        await frozen
        a.keep_safe()
        owners.close(a)
        await owners.publish("item-signals", signal(4, "w"))
        await owners.work(b)
        owners.close(b)
        again = await owners.items("A")
        await owners.work(again)
        assert (clicks(again, "v"), clicks(again, "w")) == (2, 3)
        assert again.side.vectors.store.read(["v"]).sights_B.tolist() == [2]
        await owners.publish("item-signals", signal(5, "v"))
        await owners.work(again)
        empty = await owners.items("empty")
        assert (clicks(empty, "v"), clicks(empty, "w")) == (3, 3)

    run(settings, scenario)


def test_a_late_owner_that_goes_on_publishing_does_not_skip_either(settings: Settings) -> None:
    """Its later publications land where it expects them. What it has seen there of its successor is still not in its
    rows, so its disk must read that again."""

    async def scenario(owners: Owners) -> None:
        await owners.publish("engagements", click(0, "v"), click(1, "w"))
        a = await owners.users("A")
        await owners.work(a)
        await owners.publish("engagements", click(2, "v"))
        b = await owners.users("B")
        await owners.work(b)
        await owners.publish("engagements", click(3, "w"))
        for _ in range(3):
            await a.publish()
            a.keep_safe()
        await owners.work(b)
        owners.close(b)
        owners.close(a)
        again = await owners.users("A")
        assert (history(again, "v"), history(again, "w")) == (["e0", "e2"], ["e1", "e3"])

    run(settings, scenario)


def user_row(*numbers: int) -> bytes:
    entries = [Entry(f"e{n}", "i", 1, 1.7e9 + n, 1.0, None, n, 0) for n in numbers]
    return encoded(UserRow(numbers[-1], entries))


def encoded(row: UserRow | ItemRow) -> bytes:
    return msgspec.msgpack.encode(row)


def at(**position: object) -> tuple[bytes, bytes]:
    return POSITION_KEY, encode_announcement(Announcement(Position(**position)))  # type: ignore[arg-type]


async def fill_logs(owners: Owners) -> None:
    """Ten records: a log that ends before its position is another one."""
    await owners.publish("engagements", *(click(n, "other") for n in range(10)))
    await owners.publish("item-signals", *(signal(n, "other") for n in range(10)))


async def last_of(owners: Owners, topic: str, key: bytes) -> bytes | None:
    value: bytes | None = [record.value for record in await owners.log_of(topic) if record.key == key][-1]
    return value


@pytest.mark.parametrize("between", [0, 1, 1500])
def test_of_two_copies_on_the_topic_the_further_one_counts_and_is_the_last_in_the_end(
    settings: Settings, between: int
) -> None:
    """Whether they are read together or in different batches. The start itself puts the further one last: compaction
    keeps no other."""

    async def scenario(owners: Owners) -> None:
        await fill_logs(owners)
        others = [(b"u%d" % n, user_row(1)) for n in range(between)]
        await owners.publish("user-states", (b"v", user_row(0, 3)), at(absorbed=3, safe=3), *others)
        await owners.publish("user-states", (b"v", user_row(0)))
        users = await owners.users("disk")
        assert history(users, "v") == ["e0", "e3"]
        assert await last_of(owners, "user-states", b"v") == user_row(0, 3)
        more = [(b"i%d" % n, encoded(ItemRow(1, {1: 1}))) for n in range(between)]
        further, older = encoded(ItemRow(9, {1: 10})), encoded(ItemRow(4, {1: 5}))
        await owners.publish("item-states", (b"i", further), at(absorbed=9, safe=9, passed={0: (9, 255)}), *more)
        await owners.publish("item-states", (b"i", older))
        items = await owners.items("disk")
        assert clicks(items, "i") == 10
        assert await last_of(owners, "item-states", b"i") == further

    run(settings, scenario)


def dies(boundary: str) -> None:
    if boundary == "written":
        raise RuntimeError(boundary)


def test_a_start_that_dies_before_it_has_healed_is_followed_by_one_that_heals(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await fill_logs(owners)
        await owners.publish("user-states", (b"v", user_row(0, 3)), (b"v", user_row(0)), (b"w", user_row(2)))
        with pytest.raises(RuntimeError, match="written"):
            await owners.users("disk", fault=dies)
        owners.close_all()
        again = await owners.users("disk")
        assert history(again, "v") == ["e0", "e3"]
        assert await last_of(owners, "user-states", b"v") == user_row(0, 3)
        owners.close(again)
        assert (await owners.users("disk")).side.rows.position.state_offset == len(await owners.log_of("user-states"))

    run(settings, scenario)


@pytest.mark.parametrize("topic", ["user-states", "item-states"])
def test_an_owner_at_work_contradicts_what_a_former_one_writes(settings: Settings, topic: str) -> None:
    """Rows and position: without anything new to publish of its own, but for the beat that an owner keeps."""

    async def scenario(owners: Owners) -> None:
        source = "engagements" if topic == "user-states" else "item-signals"
        make = click if topic == "user-states" else signal
        opened = owners.users if topic == "user-states" else owners.items
        await owners.publish(source, make(0, "v"), make(1, "w"))
        former = await opened("former")
        await owners.absorb(former)
        late = former.publish()
        await owners.publish(source, make(2, "v"))
        owner = await opened("owner", 2)
        await owners.work(owner)
        with pytest.raises(LostPartitionError):
            await late
        await owner._publish_once()
        assert owner._unpublished
        await owner._publish_once()
        assert not owner._unpublished
        of_v = await last_of(owners, topic, b"v")
        assert of_v is not None
        assert owner.side.rows.decode(of_v).offset == 2
        position = await last_of(owners, topic, POSITION_KEY)
        assert position is not None
        assert decode_announcement(position).position.safe == 2

    run(settings, scenario)


@pytest.mark.parametrize("topic", ["engagements", "item-signals"])
def test_a_publication_comes_however_many_rows_change(settings: Settings, topic: str) -> None:
    """New users, or items, come quicker than the pace allows: the end of the pause must not move away as fast as time
    does."""

    async def scenario(owners: Owners) -> None:
        owners.rows_per_s = 10.0
        opened, make = (owners.users, click) if topic == "engagements" else (owners.items, signal)
        owner = await opened("disk")
        owner.longest_pause_s = 0.5
        acknowledged: list[int] = []
        task = asyncio.create_task(owner.run())
        await owner.restored.wait()
        for number in range(300):
            key, value = make(number, f"new-{number}")
            await owner.put(
                Record(
                    settings.topic(topic),
                    0,
                    number,
                    1_800_000_000_000,
                    key,
                    value,
                    partial(acknowledged.append, number),
                )
            )
            await asyncio.sleep(0.005)
        assert len(acknowledged) > 50
        await asyncio.sleep(1.5)
        assert acknowledged == list(range(300))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        owners.forget(owner)

    run(settings, scenario)


def test_generations_are_told_to_those_that_read(settings: Settings) -> None:
    async def scenario(owners: Owners) -> None:
        await owners.users("disk", generation=7)
        (announced,) = await owners.log_of("user-states")
        assert dict(announced.headers) == {GENERATION: b"7"}

    run(settings, scenario)
