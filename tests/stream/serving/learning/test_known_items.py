"""Known items: a learner has the vectors that a scorer has, and the owner hears of what lies behind."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from store.items import ItemRow
from store.records.foreign import ForeignRecords
from stream.kafka.state_topics import EXPIRED, POSITION_KEY
from stream.serving.learning.known_items import NO_ROW, KnownItems
from tests.small_world import card
from tests.stream.log import settings_on
from tests.stream.serving.reading.test_item_rows import record, scorer_that_tells
from tests.stream.serving.test_scorer import Told
from trainer.items.item_learning import ItemRules

WINDOWS = len(ItemRules().half_lives_s)


def items_that_tell(
    told: list[Any], foreign: ForeignRecords | None = None, positions: list[Any] | None = None
) -> KnownItems:
    positions = [] if positions is None else positions
    items = KnownItems(settings_on("127.0.0.1:1", "x."), Told(told), positions.append, foreign or ForeignRecords())
    for number in range(8):
        items.insert_card(card(number))
    return items


def row(offset: int, place: int = 0, **more: Any) -> bytes:
    vector = np.zeros(64, "<f2")
    vector[place] = 1.0
    return msgspec.msgpack.encode(
        ItemRow(offset, {1: 3}, 3, popularity=[1.0] * WINDOWS, vector=vector.tobytes(), **more)
    )


def test_it_has_the_vectors_that_a_scorer_has() -> None:
    scorer, items = scorer_that_tells([]), items_that_tell([])
    for number in range(8):
        scorer.insert_card(card(number))
    told = [record(f"i{number}", row(number, number, neighbours={"i7": 2.0})) for number in range(6)]
    scorer.rows.on_records(told)
    items.on_records(told)
    ids = [f"i{number}" for number in range(8)]
    assert np.allclose(items.published.of(ids), scorer.published.of(ids))
    assert items.catalog.positives == scorer.recommender.catalog.positives == 18
    assert items.offset("i5") == 5
    assert items.card("i7") == scorer.card("i7")
    scorer.close()
    items.close()


def test_the_furthest_row_counts_and_the_owner_hears_of_one_behind_it() -> None:
    told: list[Any] = []
    items = items_that_tell(told)
    items.on_records([record("i1", row(9, 3))])
    items.on_records([record("i1", row(5, 4))])
    assert told == [(0, "i1", 5)]
    assert items.published.of(["i1"])[0].argmax() == 3
    told.clear()
    items.on_records([record("i1", row(12, 5)), record("i1", row(11, 6))])
    assert told == [(0, "i1", 11)]
    assert items.published.of(["i1"])[0].argmax() == 5
    items.close()


def test_a_row_waits_for_its_card_and_goes_when_it_has_expired() -> None:
    items, late = items_that_tell([]), card(9)
    items.on_records([record("i9", row(4, 7))])
    assert items.offset("i9") == 4
    assert "i9" not in items.catalog.handles
    items.insert_card(late)
    items.card_came(0, "i9")
    assert items.published.of(["i9"])[0].argmax() == 7
    items.on_records([record("i9", None, headers=[("generation", b"1"), (EXPIRED, b"5")])])
    assert items.offset("i9") == NO_ROW
    assert not items.published.known(np.array([items.catalog.handles["i9"]])).any()
    items.take_down("i9")
    assert items.card("i9") is None
    items.close()


def test_a_foreign_record_that_says_it_is_further_hides_no_row_that_came_with_it() -> None:
    foreign = ForeignRecords()
    items = items_that_tell([], foreign)
    broken = msgspec.msgpack.encode(ItemRow(20, {1: 3}, 3, popularity=[1.0] * WINDOWS, vector=b"odd"))
    items.on_records([record("i1", row(5, 3)), record("i1", broken)])
    assert items.offset("i1") == 5
    assert items.published.of(["i1"])[0].argmax() == 3
    items.close()


@pytest.mark.parametrize(
    "bad",
    [
        record("i1", b"no row"),
        record("i1", None),
        record("i1", row(3), headers=()),
        record("i1", msgspec.msgpack.encode(ItemRow(3, vector=b"\xff\xff"))),
        record("", row(3)),
    ],
)
def test_a_foreign_record_changes_nothing(bad: Any) -> None:
    met: list[str] = []
    positions: list[Any] = []
    items = items_that_tell([], ForeignRecords(met.append), positions)
    position = record(POSITION_KEY.decode(), b"p")
    items.on_records([bad, position])
    assert (met, positions) == (["item-states"], [position])
    assert items.offset("i1") == NO_ROW
    items.close()


def test_where_items_are_expected_is_fitted_when_enough_was_learned() -> None:
    async def scenario() -> None:
        items = items_that_tell([])
        assert not items.due()
        items.catalog.positives = 1000.0
        assert items.due()
        caught_up = asyncio.Event()
        caught_up.set()
        running = asyncio.create_task(items.run(caught_up))
        async with asyncio.timeout(20):
            while items.due():
                await asyncio.sleep(0.01)
        running.cancel()
        items.close()

    asyncio.run(scenario())
