"""Rows of items by the batch: as one by one, and of copies of a row the furthest."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from store.items import ItemRow
from store.records.foreign import ForeignRecords
from store.settings import Settings
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import EXPIRED
from stream.metrics.metrics import Metrics
from stream.serving.scorer import Scorer
from tests.stream.log import settings_on
from tests.stream.serving.test_scorer import Told
from tests.stream.serving.uncatalogued.test_waiting_rows import card
from trainer.content.encoders import text_encoder

ITEMS = "abcdefgh"


def scorer_that_tells(told: list[Any], foreign: ForeignRecords | None = None) -> Scorer:
    settings: Settings = settings_on("127.0.0.1:1", "x.")
    scorer = Scorer(
        settings,
        metrics=Metrics(),
        encoder=text_encoder("static"),
        emitter=Emitter(settings),
        owners=Told(told),
        foreign=foreign,
    )
    for item in ITEMS:
        scorer.on_card(card(item))
    told.clear()
    return scorer


def record(item: str, value: bytes | None, place: int = 0, headers: Any = (("generation", b"1"),)) -> Any:
    return SimpleNamespace(
        key=item.encode(), value=value, partition=0, offset=place, headers=headers, topic="x.item-states"
    )


def row(offset: int, clicks: int = 1, **more: Any) -> ItemRow:
    vector = np.array([clicks, *[1.0] * 63])
    made = {"positives": clicks, "popularity": [float(clicks)] * 7, "last_at": 1e9 + offset, "decayed_at": 1e9}
    made |= {"vector": (vector / np.linalg.norm(vector)).astype("<f2").tobytes(), "landmark": 1e9}
    return ItemRow(offset, {1: clicks}, **{**made, **more})


def packed(offset: int, clicks: int = 1, **more: Any) -> bytes:
    return msgspec.msgpack.encode(row(offset, clicks, **more))


def state(scorer: Scorer) -> Any:
    """All that answers are made of."""
    catalog, published = scorer.recommender.catalog, scorer.recommender.published
    size = len(catalog)
    columns = (catalog.positives_N, catalog.negatives_N, catalog.last_at_N, catalog.shown_NV)
    columns += (catalog.heat_NW, published.x_ND, published.changes_N > 0)
    into = {
        (catalog.ids[source], catalog.ids[target]): round(log, 4)
        for target in range(size)
        for source, log in zip(*(column.tolist() for column in catalog.transitions.into(target)), strict=True)
    }
    return [np.round(column[:size].astype(float), 4).tolist() for column in columns], into, scorer.recommender.now_s


def drawn(seed: int, items: str, count: int) -> list[tuple[str, int, ItemRow]]:
    """Item, place and row: as far as its offset says, for a row is a function of its log up to there."""
    rng, made = random.Random(seed), []
    for place in range(count):
        item, offset = rng.choice(items), rng.randrange(20)
        of_row = random.Random(f"{item} {offset}")
        near = {name: float(of_row.randint(1, 4)) for name in of_row.sample(ITEMS + "zw", of_row.randrange(6))}
        shown = {"shown": [1.0 + offset] * 7, "shown_at": 1e9} if seed % 2 else {}
        made.append((item, place, row(offset, of_row.randint(1, 5), neighbours={"h": 1.0} | near, **shown)))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_many_at_once_are_taken_as_one_by_one(seed: int) -> None:
    some = drawn(seed, ITEMS + "xy", 30)
    records = [record(item, msgspec.msgpack.encode(made), place) for item, place, made in some]
    at_once, one_by_one = scorer_that_tells([]), scorer_that_tells([])
    for begin in range(0, len(records), 10):
        at_once.rows.on_records(records[begin : begin + 10])
    for one in records:
        one_by_one.rows.on_records([one])
    assert state(at_once) == state(one_by_one)
    for item in ITEMS + "xy":
        assert at_once.rows.counters(item) == one_by_one.rows.counters(item)
    at_once.close()
    one_by_one.close()


@pytest.mark.parametrize("seed", range(2))
def test_columns_are_taken_as_rows_are(seed: int) -> None:
    """The recommender's two ways in: `update`, by which a replay goes, and `update_many`."""
    columns, rows = scorer_that_tells([]), scorer_that_tells([])
    for item, place, made in drawn(seed, ITEMS, 20):
        near = {name: weight for name, weight in made.neighbours.items() if name in ITEMS}
        newer = msgspec.structs.replace(made, offset=place, neighbours=near)
        columns.rows.on_records([record(item, msgspec.msgpack.encode(newer))])
        rows.recommender.update(item, newer)
    assert state(columns) == state(rows)
    columns.close()
    rows.close()


def test_of_what_has_come_of_a_key_the_furthest_that_is_a_row_counts() -> None:
    counted: list[str] = []
    scorer = scorer_that_tells(told := [], ForeignRecords(counted.append))
    foreign = msgspec.msgpack.encode(ItemRow(20, positives=1, popularity=[1.0] * 3))
    scorer.rows.on_records(
        [
            *(record("a", packed(2, 2)), record("a", packed(9, 9)), record("a", packed(4, 4))),
            *(record("b", packed(3, 3)), record("b", b"?"), record("b", foreign)),
            *(record("c", b"?"), record("", packed(1)), record("d", packed(1), headers=())),
            *(record("e", packed(5, 5)), record("e", None)),
            record("f", packed(6, 6)),
        ]
    )
    assert [scorer.rows.counters(item) for item in "abcdef"] == [{1: 9}, {1: 3}, {}, {}, {1: 5}, {1: 6}]
    assert counted == ["item-states"] * 5
    assert [each for each in told if each[0] == 0] == [(0, "a", 4)]
    scorer.close()


@pytest.mark.parametrize("last", [True, False])
def test_a_row_that_expired_is_gone_unless_it_came_back(last: bool) -> None:
    scorer = scorer_that_tells([])
    end = record("a", None, headers=(("generation", b"1"), (EXPIRED, b"9")))
    scorer.rows.on_records([record("a", packed(2, 2)), *([end] if last else [end, record("a", packed(3, 1))])])
    assert scorer.rows.counters("a") == ({} if last else {1: 1})
    scorer.rows.on_records([record("b", packed(2, 2))])
    scorer.rows.on_records([end, record("b", None, headers=(("generation", b"1"), (EXPIRED, b"9")))])
    assert scorer.rows.counters("b") == {}
    assert scorer.recommender.catalog.positives_N[scorer.recommender.catalog.handles["b"]] == 0
    scorer.close()
