"""Two owners of each partition, of which one may stand still between any two steps and go on whenever it likes.

The owners are the real partitions, with their real `restore`, on a log in memory: everything that they read or write
there is a step, and Hypothesis decides who may take how many, who is given the partition, who dies and whose disk is
lost. Compaction keeps the last record of each key, once an owner has looked at what was written after its own (the
real one waits for that: `min.compaction.lag.ms`). In the end every disk, and an empty one, agrees with the oracle.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.envelopes.reading import EventReader
from store.events import KINDS
from store.histories import HistoryRules, UserRow
from store.items import ItemRow
from store.rows import RowStore
from store.settings import Settings, settings_from
from stream.ingest.item_partition import ItemPartition
from stream.ingest.item_side import ItemSide
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.protocol.published_rows import LostPartitionError
from stream.ingest.user_partition import UserPartition
from stream.ingest.user_side import UserSide
from stream.kafka.log_identity import PartitionLog
from stream.kafka.records import Record
from stream.metrics.metrics import Metrics
from tests.folders import memory_folder
from tests.item_vectors import item_vectors
from tests.lengths import LONG, examples
from tests.oracle import Oracle
from tests.stream.ingest.owners import Unscored
from trainer.items.item_learning import ItemRules

RULES = HistoryRules({"click": 1.0, "like": 2.0, "hide": -1.0}, length=12, context=3)
METRICS = Metrics()
SETTINGS = settings_from({"kafka": {"topic_prefix": "", "partitions": 1}})
SIDES = ("users", "items")
INPUT = {"users": "engagements", "items": "item-signals"}
STATES = {"users": "user-states", "items": "item-states"}
DISKS = ("A", "B")
ALL = 1_000_000
"""Steps: as many as it takes."""


class Written(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int = 1_000_000


class MemoryLog:
    """Topics of one partition; `steps` is who takes a step in the running task."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Written]] = defaultdict(list)
        self.ends: dict[str, int] = defaultdict(int)

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: Iterable[Any] = ()) -> int:
        offset = self.ends[topic]
        self.topics[topic].append(Written(offset, key, value, list(headers)))
        self.ends[topic] += 1
        return offset

    def compact(self, topic: str) -> None:
        self.topics[topic] = sorted({record.key: record for record in self.topics[topic]}.values())

    async def read(self, _: Settings, topic: str, partition: int, begin: int) -> AsyncIterator[Written]:
        await step()  # it connects
        end = self.ends[topic]
        for record in list(self.topics[topic]):
            if begin <= record.offset < end:
                await step()
                yield record

    async def look_at(self, _: Settings, names: Iterable[str], partition: int) -> dict[str, PartitionLog]:
        await step()
        return {name: PartitionLog(name, partition, f"id-{name}", 1, 0, self.ends[name]) for name in names}


class Budget:
    """How many steps a task may take before it stands still."""

    def __init__(self) -> None:
        self.left = 0
        self.allowed = asyncio.Event()

    async def step(self) -> None:
        while self.left <= 0:
            self.allowed.clear()
            await self.allowed.wait()
        self.left -= 1

    def allow(self, steps: int) -> None:
        self.left += steps
        self.allowed.set()


BUDGETS: dict[asyncio.Task[Any], Budget] = {}


async def step() -> None:
    task = asyncio.current_task()
    assert task is not None
    await BUDGETS[task].step()


class MemoryEmitter:
    """Sends to the memory log, a step before each record or batch arrives and one after."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def send(self, topic: str, value: bytes | None, *, key: bytes | None = None, **_: Any) -> asyncio.Future[Any]:
        await step()
        self._log.append(topic, key, value)
        await step()
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    async def send_rows(self, topic: str, partition: int, rows: Iterable[Any]) -> int:
        begin = -1
        for key, value, headers in rows:  # each a batch of its own: another's may lie between
            await step()
            begin = self._log.append(topic, key, value, headers)
        await step()
        return begin


class Owner:
    """One disk's partition of one side, and what it is doing."""

    def __init__(self, world: World, side: str, disk: str, generation: int) -> None:
        self.partition = world.open(side, disk, generation)
        self.world, self.side, self.generation = world, side, generation
        self.budget = Budget()
        self.lost = False
        self.task: asyncio.Task[None] | None = None
        self.begin(self.partition.restore())

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(self._noting_loss(work))
        BUDGETS[self.task] = self.budget

    async def _noting_loss(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LostPartitionError:
            self.lost = True

    async def run(self, steps: int) -> None:
        """Lets it take so many steps; begins its next round of work when it has nothing to do."""
        if self.task is None or self.task.done():
            if self.lost:
                return
            self.begin(self.work(3))
        self.budget.allow(steps)
        await self.rest()

    async def work(self, records: int) -> None:
        topic = INPUT[self.side]
        begin = self.partition.cursors[topic].ahead or 0
        there = [record for record in self.world.log.topics[topic] if record.offset >= begin][:records]
        taken = [Record(topic, 0, r.offset, r.timestamp, r.key, r.value, lambda: None) for r in there]
        await self.partition._take(taken)
        await self.partition._publish_once()

    async def rest(self) -> None:
        """Until its task is done, or stands still."""
        assert self.task is not None
        while not self.task.done() and not (self.budget.left <= 0 and not self.budget.allowed.is_set()):
            await asyncio.sleep(0)
        if self.task.done():
            self.budget.left = 0
            self.task.result()

    async def finish(self, everything: bool = True) -> None:
        """Ends what it is doing; with `everything`, works until nothing is left."""
        if self.task is not None and not self.task.done():
            await self.run(ALL)
        topic = INPUT[self.side]
        while everything and not self.lost:
            ahead = self.partition.cursors[topic].ahead or 0
            if ahead >= self.world.log.ends[topic] and not self.partition._unpublished:
                break
            self.begin(self.work(1000))
            await self.run(ALL)

    async def die(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.partition.close()


class World:
    """The log, the disks, and who has opened which; `owner` is the disk to which the group has given a side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = MemoryLog()
        self.emitter: Any = MemoryEmitter(self.log)
        self.open_owners: dict[tuple[str, str], Owner] = {}
        self.owner: dict[str, str] = {}
        self.generation = 0

    def open(self, side: str, disk: str, generation: int) -> UserPartition | ItemPartition:
        context = PartitionContext(
            settings=SETTINGS, emitter=self.emitter, metrics=METRICS, generation=lambda: generation
        )
        if side == "users":
            rows = RowStore(self.folder / f"{disk}-users", UserRow)
            return UserPartition(UserSide(0, 1, rows, RULES, EventReader()), context, Unscored(), lambda: 1e9)
        rows_of_items = RowStore(self.folder / f"{disk}-items", ItemRow)
        vectors = item_vectors(self.folder / f"{disk}-vectors")
        return ItemPartition(ItemSide(0, rows_of_items, ItemRules(), vectors), context, lambda: 1e9, f"http://{disk}")

    def frame(self, events: list[dict[str, Any]]) -> None:
        self.log.append("engagements", None, json.dumps({"events": events}).encode())

    async def take(self, side: str, disk: str, steps: int) -> None:
        """The group gives the side to a disk. Its former owner is told nothing: it is paused, or cut off."""
        await self.kill(side, disk, wiped=False)
        self.generation += 1
        self.owner[side] = disk
        owner = self.open_owners[side, disk] = Owner(self, side, disk, self.generation)
        await owner.run(steps)

    async def run(self, side: str, disk: str, steps: int) -> None:
        if (side, disk) in self.open_owners:
            await self.open_owners[side, disk].run(steps)

    async def kill(self, side: str, disk: str, wiped: bool) -> None:
        if (side, disk) in self.open_owners:
            await self.open_owners.pop((side, disk)).die()
            if self.owner.get(side) == disk:
                del self.owner[side]
        if wiped:
            for name in ("users",) if side == "users" else ("items", "vectors"):
                shutil.rmtree(self.folder / f"{disk}-{name}", ignore_errors=True)

    async def compact(self) -> None:
        """Only what an owner has looked at, and written again where need was."""
        for side in SIDES:
            owner = self.open_owners.get((side, self.owner.get(side, "")))
            if owner is None or owner.lost:
                continue
            await owner.finish(everything=False)
            for _ in range(2):  # a beat, and what it finds
                owner.begin(owner.partition._publish_once())
                await owner.run(ALL)
            self.log.compact(STATES[side])

    async def finish(self, order: Iterable[str]) -> None:
        """Every late owner wakes and does what it had in mind; then each disk in turn, and an empty one, is given
        everything, and compacts in the end."""
        for owner in list(self.open_owners.values()):
            await owner.finish(everything=False)
        for disk in order:
            for side in SIDES:
                await self.take(side, disk, ALL)
                await self.open_owners[side, disk].finish()
            assert not any(self.open_owners[side, disk].lost for side in SIDES)
            assert_equal(self, disk)
            await self.compact()

    async def close(self) -> None:
        for side, disk in list(self.open_owners):
            await self.kill(side, disk, wiped=False)
        BUDGETS.clear()


def assert_equal(world: World, disk: str) -> None:
    oracle = Oracle(window=RULES.length)
    oracle.read(record.value for record in world.log.topics["engagements"] if record.value)
    users, items = world.open_owners["users", disk].partition, world.open_owners["items", disk].partition
    histories = {user: [entry.event_id for entry in row.entries][-12:] for user, row in users.side.rows.scan()}
    assert histories == {user: events[-12:] for user, events in oracle.histories.items() if events}
    counters = {item: {KINDS[k]: n for k, n in row.counters.items()} for item, row in items.side.rows.scan()}
    assert counters == {item: dict(counts) for item, counts in oracle.counters.items()}
    assert isinstance(items, ItemPartition)
    for item_id, row in items.side.rows.scan():
        assert items.side.vectors.store.read([item_id]).sights_B[0] == row.positives


event = st.fixed_dictionaries(
    {
        "event_id": st.integers(0, 60).map(lambda n: f"event-{n}"),
        "user_id": st.sampled_from(["v", "w"]),
        "item_id": st.sampled_from(["i", "j"]),
        "kind": st.sampled_from(["click", "like", "hide"]),
        "occurred_at": st.integers(0, 900).map(float),
    }
)
side, disk, steps = st.sampled_from(SIDES), st.sampled_from(DISKS), st.integers(0, 14)
action = st.one_of(
    st.tuples(st.just("frame"), st.lists(event, min_size=1, max_size=3)),
    st.tuples(st.just("take"), side, disk, steps),
    st.tuples(st.just("run"), side, disk, steps),
    st.tuples(st.just("run"), side, disk, steps),
    st.tuples(st.just("kill"), side, disk, st.booleans()),
    st.tuples(st.just("compact")),
)


def click(number: int, user: str) -> dict[str, Any]:
    made = {"event_id": f"event-{number}", "user_id": user, "item_id": f"of-{user}", "kind": "click"}
    return {**made, "occurred_at": float(number)}


Actions = list[tuple[Any, ...]]


def late(side: str, stands_after: int) -> tuple[Actions, Actions]:
    """A stands still after so many steps of a publication; B takes over and publishes a further row; A goes on. And how
    to publish one engagement more."""
    feed: Actions = [("run", "users", "U", ALL)] if side == "items" else []
    users: Actions = [("take", "users", "U", ALL)] if side == "items" else []
    more: Actions = [("frame", [click(9, "w")]), *feed]
    return [
        *users, ("take", side, "A", ALL),
        ("frame", [click(0, "v"), click(1, "w")]), *feed, ("run", side, "A", ALL),
        ("frame", [click(2, "w")]), *feed, ("run", side, "A", stands_after),
        ("frame", [click(3, "v"), click(4, "w")]), *feed, ("take", side, "B", ALL), ("run", side, "B", ALL),
        ("run", side, "A", ALL),
    ], more  # fmt: skip


def endings(side: str, more: Actions, deaths: Iterable[int]) -> Iterator[Actions]:
    """What may come after that; `deaths`: after how many steps of its start a third disk dies."""
    a_ends, b_is_lost = ("kill", side, "A", False), ("kill", side, "B", True)
    yield [a_ends, *more, ("run", side, "B", ALL)]
    yield [("run", side, "A", ALL), ("run", side, "A", ALL), *more, ("run", side, "B", ALL)]
    yield [a_ends, b_is_lost]
    yield [a_ends, ("compact",), b_is_lost]
    for steps in deaths:  # another disk reads both, and may die before it has written again
        read = [("take", side, "C", steps), ("kill", side, "C", False), ("take", side, "C", ALL)]
        yield [a_ends, b_is_lost, *read, ("compact",), ("kill", side, "C", True)]


BOTH_WAYS = (["A", "B", "empty"], ["empty", "B", "A"])
DEATHS = range(0, 16, 3)


@pytest.mark.parametrize("order", [BOTH_WAYS[0], pytest.param(BOTH_WAYS[1], marks=pytest.mark.long)], ids="".join)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("stands_after", range(8))
def test_an_owner_stands_still_at_each_step_of_a_publication(side: str, stands_after: int, order: list[str]) -> None:
    """Usually with a third of the deaths, others after each step."""
    actions, more = late(side, stands_after)
    for ending in endings(side, more, DEATHS if LONG else DEATHS[stands_after % 3 :: 3]):
        asyncio.run(played([*actions, *ending], order))


@pytest.mark.parametrize("side", SIDES)
def test_an_owner_stands_still_at_each_step_of_its_start(side: str) -> None:
    """While it reads, its successor starts, works and publishes: what it has looked at before says nothing of what it
    reads after that."""
    for stands_after in range(12):
        feed: Actions = [("run", "users", "U", ALL)] if side == "items" else []
        actions: Actions = [
            *([("take", "users", "U", ALL)] if side == "items" else []),
            ("take", side, "A", ALL), ("frame", [click(0, "v")]), *feed, ("run", side, "A", ALL),
            ("take", side, "A", stands_after),
            ("frame", [click(1, "v"), click(2, "w")]), *feed, ("frame", [click(3, "w")]), *feed,
            ("take", side, "B", ALL), ("run", side, "B", ALL), ("run", side, "B", ALL),
            ("run", side, "A", ALL), ("run", side, "A", ALL),
        ]  # fmt: skip
        for order in BOTH_WAYS:
            asyncio.run(played(actions, order))


orders = st.permutations([*DISKS, "empty"])


@settings(max_examples=examples(50, 200), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(action, max_size=40), order=orders)
def test_every_engagement_counts_once_whoever_stands_still_and_goes_on(
    actions: list[tuple[Any, ...]], order: list[str]
) -> None:
    asyncio.run(played(actions, order))


async def played(actions: list[tuple[Any, ...]], order: list[str]) -> None:
    folder = memory_folder()
    world = World(folder)
    read, look_at = world.log.read, world.log.look_at
    with (
        patch("stream.ingest.protocol.published_rows.read_partition", read),
        patch("stream.ingest.user_partition.read_partition", read),
        patch("stream.ingest.item_partition.read_partition", read),
        patch("stream.ingest.user_partition.look_at", look_at),
        patch("stream.ingest.item_partition.look_at", look_at),
    ):
        try:
            for name, *arguments in actions:
                done = getattr(world, name)(*arguments)
                if done is not None:
                    await done
            await world.finish(order)
        finally:
            await world.close()
            shutil.rmtree(folder)
