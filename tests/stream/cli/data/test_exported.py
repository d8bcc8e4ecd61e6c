"""Items and users as the workers have published them; what was taken down or forgotten is not among them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer

from store.events import KIND_CODES
from store.headers import numbered
from store.histories import Entry, UserRow
from store.items import ItemCard, ItemRow
from store.keys import partition_of
from store.log import Forgotten
from store.rows import POSITION_KEY
from store.settings import Settings
from store.topics import FORGOTTEN_USERS, ITEM_STATES, PROFILES, SEMANTIC_IDS, UPLOADS, USER_STATES
from stream.cli.data import exported
from stream.kafka.state_topics import EXPIRED, GENERATION
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.store.envelopes.wrapped import change
from tests.stream.log import settings_on

OWNED = [(GENERATION, b"1")]


class Said:
    """What workers and applications put on the log."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)

    def put(self, topic: str, key: str | bytes, value: bytes | None, headers: Any = ()) -> None:
        encoded = key if isinstance(key, bytes) else key.encode()
        partition = partition_of(encoded.decode().partition("\0")[0], self.settings.kafka.partitions)
        self._producer.send(self.settings.topic(topic), value, encoded, list(headers), partition)

    def card(self, item_id: str, offset: int = 0, at_ms: int = 1_000, **fields: Any) -> None:
        made = {"codebook": "v1", "codes": [1, 2], "suffix": 3, "assigned_at": 1.0, "uploaded_at": 0.5}
        card = ItemCard(**{**made, "item_id": item_id, "published_at_ms": at_ms, "upload_offset": offset, **fields})
        self.put(SEMANTIC_IDS, item_id, msgspec.json.encode(card))

    def row(self, topic: str, key: str, row: UserRow | ItemRow, headers: Any = OWNED) -> None:
        self.put(topic, key, msgspec.msgpack.encode(row), headers)

    def flush(self) -> None:
        self._producer.flush()

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def said(embedded_broker: EmbeddedCluster, request: pytest.FixtureRequest) -> Iterator[Said]:
    settings = settings_on(embedded_broker.bootstrap_servers, f"{request.node.name[:30]}.", kafka={"partitions": 2})
    create_topics(settings)
    said = Said(settings)
    yield said
    said.close()


def test_items_are_what_counts_of_each(said: Said) -> None:
    vector = np.array([0.5, -1.0], "<f2").tobytes()
    row = ItemRow(
        offset=9,
        counters={KIND_CODES["click"]: 3, KIND_CODES["hide"]: 1},
        positives=3,
        negatives=1,
        first_at=2.0,
        last_at=4.0,
        popularity=[1.0],
        vector=vector,
    )
    said.card("a", 5, title="A", tags=["t"], content={"text": "AAA="})
    said.card("a", 3, title="written late")
    said.card("b")
    said.put(SEMANTIC_IDS, "c", b"no card")
    for item_id in ("gone", "back"):
        said.card(item_id, 1)
        said.put(SEMANTIC_IDS, item_id, None, numbered(upload_offset=2))
    said.card("back", 3)
    said.row(ITEM_STATES, "a", row)
    said.row(ITEM_STATES, "a", ItemRow(offset=8))  # of a former owner, late
    said.row(ITEM_STATES, "b", ItemRow(offset=8, positives=7, popularity=[1.0]), headers=())
    said.row(ITEM_STATES, "back", ItemRow(offset=8, touched_s=50))
    said.put(ITEM_STATES, "back", None, [*OWNED, *numbered(**{EXPIRED: 100})])
    said.row(ITEM_STATES, "back", ItemRow(offset=7, touched_s=60, counters={KIND_CODES["click"]: 1}))
    said.put(ITEM_STATES, POSITION_KEY, b"x", OWNED)
    said.flush()
    rows = {row["item_id"]: row for row in exported.items(said.settings, vectors=True)}
    assert set(rows) == {"a", "b", "back"}
    assert set(rows["a"]) == {*exported.ITEMS, *exported.VECTOR}
    told = {
        "title": "A",
        "tags": ["t"],
        "published_at": 1.0,
        "semantic_id": [1, 2, 3],
        "click": 3,
        "hide": 1,
        "like": 0,
    }
    learned = {"positives": 3, "negatives": 1, "first_engaged_at": 2.0, "last_engaged_at": 4.0, "vector": [0.5, -1.0]}
    assert {**rows["a"], **told, **learned} == rows["a"]
    assert (rows["b"]["positives"], rows["b"]["last_engaged_at"], rows["b"]["vector"]) == (0, None, None)
    assert rows["back"]["click"] == 0
    assert set(next(exported.items(said.settings))) == set(exported.ITEMS)


def test_a_take_down_that_no_worker_has_seen_counts(said: Said) -> None:
    for item_id in ("kept", "down", "deleted"):
        said.card(item_id)
    said.card("again", at_ms=int(time.time() * 1000) + 60_000)
    said.put(UPLOADS, "down", None)
    said.put(UPLOADS, "again", None)
    said.put(UPLOADS, "k", change(None, "d", {"item_id": "deleted"}))
    said.flush()
    assert {row["item_id"] for row in exported.items(said.settings)} == {"kept", "again"}


def test_users_are_rows_without_who_was_forgotten(said: Said) -> None:
    acts = [Entry(f"e{n}", f"i{n}", KIND_CODES["like"], float(n), 2.0, None, n, 0) for n in range(12)]
    row = UserRow(offset=5, entries=acts, seen=b"\0" * 16, attributes={"age": 3.0}, profiled_at=9.0, kept=acts[:1])
    said.row(USER_STATES, "u", row)
    said.row(USER_STATES, "u", UserRow(offset=4, attributes={"age": 4.0}, profiled_at=10.0))  # a later profile
    said.row(USER_STATES, "u", UserRow(offset=3))
    said.row(USER_STATES, "none", UserRow(), headers=())
    for user_id, life in (("gone", -1), ("returned", 8), ("asked", -1), ("by-row", -1)):
        said.row(USER_STATES, user_id, UserRow(life=life))
    said.row(USER_STATES, "returned", UserRow(life=-1, offset=99))  # written late, of the life before
    now_ms = int(time.time() * 1000)
    for user_id in ("gone", "returned"):
        one = Forgotten(user_id=user_id, offset=8, forgotten_at_ms=now_ms + 60_000)
        said.put(FORGOTTEN_USERS, one.key(), one.encode())
        said.put(PROFILES, user_id, None)
    said.put(PROFILES, "asked", None)
    said.put(PROFILES, "k", change(None, "d", {"user_id": "by-row"}))
    said.flush()
    rows = {row["user_id"]: row for row in exported.users(said.settings)}
    assert set(rows) == {"u", "returned"}
    assert set(rows["u"]) == set(exported.USERS)
    counts = {"kept_engagements": 13, "items_had": 2, "items_turned_away": 0, "last_engaged_at": 11.0}
    assert {**rows["u"], **counts, "attributes": {"age": 4.0}, "profiled_at": 10.0} == rows["u"]
    newest = {"item_id": "i11", "kind": "like", "occurred_at": 11.0, "value": None}
    assert (len(rows["u"]["last_acts"]), rows["u"]["last_acts"][0]) == (10, newest)
