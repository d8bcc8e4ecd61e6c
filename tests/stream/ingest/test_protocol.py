"""The exactly-once protocol under crashes between any two steps, against the oracle.

A world of two partitions in memory: the log is lists, workers are the real sides on real row stores. Hypothesis decides
who works, how far, who dies and whose disk is lost.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.envelopes.reading import EventReader
from store.events import KINDS
from store.histories import HistoryRules, UserRow
from store.items import ItemRow
from store.keys import partition_of
from store.rows import RowStore
from stream.ingest.item_side import Change, ItemSide
from stream.ingest.user_side import UserSide
from stream.kafka.records import Record
from stream.kafka.state_topics import POSITION_KEY, Announcement, decode_announcement, encode_announcement
from tests.folders import memory_folder
from tests.item_vectors import item_vectors
from tests.lengths import examples
from tests.oracle import Oracle
from trainer.items.item_learning import ItemRules

PARTITIONS = 2
RULES = HistoryRules({"click": 1.0, "like": 2.0, "hide": -1.0}, length=12, context=3)
USERS = [f"user-{n}" for n in range(5)]
ITEMS = [f"item-{n}" for n in range(4)]


class World:
    """Topics as lists and one owner per side and partition."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: dict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = {}
        self.read_to: dict[tuple[str, int], int] = {}
        self.users = {p: self.open_users(p) for p in range(PARTITIONS)}
        self.items = {p: self.open_items(p) for p in range(PARTITIONS)}

    def topic(self, name: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
        return self.log.setdefault((name, partition), [])

    def open_users(self, p: int) -> UserSide:
        side = UserSide(p, PARTITIONS, RowStore(self.folder / f"users-{p}", UserRow), RULES, EventReader())
        for key, value in self.topic("user-states", p):
            if key == POSITION_KEY:
                side.meet(decode_announcement(value).position)
            elif (row := side.merge(key.decode(), value)) is not None:
                side.rows.write({key.decode(): row})
        self.read_to["engagements", p] = side.rows.position.safe + 1
        return side

    def open_items(self, p: int) -> ItemSide:
        rows, vectors = self.folder / f"items-{p}", self.folder / f"vectors-{p}"
        side = ItemSide(p, RowStore(rows, ItemRow), ItemRules(), item_vectors(vectors, p, PARTITIONS))
        for key, value in self.topic("item-states", p):
            if key == POSITION_KEY:
                side.meet(decode_announcement(value).position)
            elif (row := side.merge(key.decode(), value)) is not None:
                side.restore({key.decode(): row})
        self.read_to["item-signals", p] = side.rows.position.safe + 1
        return side

    def records(self, name: str, p: int, n: int) -> list[Record]:
        begin = self.read_to[name, p]
        batch = self.topic(name, p)[begin : begin + n]
        self.read_to[name, p] = begin + len(batch)
        return [Record(name, p, begin + i, 1_000_000, k, v, lambda: None) for i, (k, v) in enumerate(batch)]

    def crash(self, side: str, p: int, wiped: bool) -> None:
        owners, kind, reopen = (
            (self.users, "users", self.open_users) if side == "users" else (self.items, "items", self.open_items)
        )
        owner = owners[p]
        if isinstance(owner, ItemSide):
            owner.close()
        else:
            owner.rows.close()
        for name in [kind, "vectors"] if kind == "items" else [kind]:
            if wiped:
                shutil.rmtree(self.folder / f"{name}-{p}")
        owners[p] = reopen(p)

    def work_users(self, p: int, n: int, sends: int | None) -> None:
        """Absorbs n records; when `sends` is given the worker dies after so many signals are out."""
        effects = self.users[p].absorb(self.records("engagements", p, n))
        for partition, key, frame in effects.signals[:sends]:
            self.topic("item-signals", partition).append((key, frame))
        if sends is not None:
            self.crash("users", p, wiped=False)

    def work_items(self, p: int, n: int) -> None:
        self.items[p].absorb(self.records("item-signals", p, n))

    def learn(self, p: int) -> None:
        """Writes the vectors and dies before the rows are written."""
        items = self.items[p]
        items.vectors.flush(items.rows.position.absorbed, items.rows)
        self.crash("items", p, wiped=False)

    def publish(self, side: str, p: int, steps: int) -> None:
        """Publishes as far as `steps` goes: rows, then the position; dies if it does not reach the end."""
        owner = self.users[p] if side == "users" else self.items[p]
        name, source = ("user-states", "engagements") if side == "users" else ("item-states", "item-signals")
        for key, change in owner.flush().items():
            if steps == 0:
                return self.crash(side, p, wiped=False)
            steps -= 1
            value = change.row if isinstance(change, Change) else change
            self.topic(name, p).append((key.encode(), value))
        if steps == 0:
            return self.crash(side, p, wiped=False)
        self.topic(name, p).append((POSITION_KEY, encode_announcement(Announcement(owner.rows.position))))
        if steps == 1:
            return self.crash(side, p, wiped=False)
        owner.rows.position.safe = self.read_to[source, p] - 1
        return None

    def finish(self) -> None:
        for p in range(PARTITIONS):
            self.work_users(p, 10_000, None)
        for p in range(PARTITIONS):
            self.work_items(p, 10_000)
        for side in (*self.users.values(), *self.items.values()):
            side.flush()

    def close(self) -> None:
        for users in self.users.values():
            users.rows.close()
        for items in self.items.values():
            items.close()


event = st.fixed_dictionaries(
    {
        "event_id": st.integers(0, 60).map(lambda n: f"event-{n}"),
        "user_id": st.sampled_from(USERS),
        "item_id": st.sampled_from(ITEMS),
        "kind": st.sampled_from(["click", "like", "hide", "impression"]),
        "occurred_at": st.integers(0, 1000).map(float),
    }
)
partition = st.integers(0, PARTITIONS - 1)
action = st.one_of(
    st.tuples(st.just("frame"), partition, st.lists(event, min_size=1, max_size=6)),
    st.tuples(st.just("users"), partition, st.integers(1, 4), st.none() | st.integers(0, 3)),
    st.tuples(st.just("items"), partition, st.integers(1, 4)),
    st.tuples(st.just("publish"), st.sampled_from(["users", "items"]), partition, st.integers(0, 12)),
    st.tuples(st.just("learn"), partition),
    st.tuples(st.just("crash"), st.sampled_from(["users", "items"]), partition, st.booleans()),
)


@settings(max_examples=examples(100, 300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions=st.lists(action, max_size=40))
def test_every_engagement_counts_once_whatever_dies(actions) -> None:
    folder = memory_folder()
    world, oracle = World(folder), Oracle(window=RULES.length)
    try:
        for name, *arguments in actions:
            if name == "frame":
                p, events = arguments
                mine = [e for e in events if partition_of(e["user_id"], PARTITIONS) == p]
                if mine:
                    world.topic("engagements", p).append((None, json.dumps({"events": mine}).encode()))
            else:
                {
                    "users": world.work_users,
                    "items": world.work_items,
                    "learn": world.learn,
                    "publish": world.publish,
                    "crash": world.crash,
                }[name](*arguments)
        world.finish()
        for p in range(PARTITIONS):
            oracle.read(value for _, value in world.topic("engagements", p) if value)
        assert_equal(world, oracle)
    finally:
        world.close()
        shutil.rmtree(folder)


def assert_equal(world: World, oracle: Oracle) -> None:
    histories = {}
    for side in world.users.values():
        for user_id, row in side.rows.scan():
            histories[user_id] = [entry.event_id for entry in row.entries][-RULES.length :]
    assert histories == {user: events[-RULES.length :] for user, events in oracle.histories.items() if events}
    counters = {}
    for side in world.items.values():
        for item_id, row in side.rows.scan():
            counters[item_id] = {KINDS[kind]: n for kind, n in row.counters.items()}
    assert counters == {item: dict(counts) for item, counts in oracle.counters.items()}
    assert_vectors(world, oracle)


def assert_vectors(world: World, oracle: Oracle) -> None:
    """Each positive engagement was learned from once, and each row has its item's vector, but for the steps in which it
    only was a negative."""
    for side in world.items.values():
        for item_id, row in side.rows.scan():
            learned = side.vectors.store.read([item_id])
            counts = oracle.counters[item_id]
            assert learned.sights_B[0] == row.positives == counts["click"] + counts["like"]
            if row.positives:
                assert float(np.linalg.norm(row.vector_D().astype(float))) == pytest.approx(1.0, abs=1e-2)
                assert float(np.linalg.norm(learned.vectors_BD[0])) == pytest.approx(1.0, abs=1e-2)
