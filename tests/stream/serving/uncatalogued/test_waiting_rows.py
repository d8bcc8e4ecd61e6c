"""Rows of items that nobody has uploaded: out of the way of answers, bounded, and there when the card comes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec

from store.items import ItemCard, ItemRow
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import EXPIRED
from stream.metrics.metrics import Metrics
from stream.serving.scorer import Scorer
from stream.serving.uncatalogued.waiting_rows import WaitingRows
from tests.stream.log import settings_on
from tests.stream.serving.test_scorer import Told
from trainer.content.encoders import text_encoder


def scorer_that_tells(told: list[Any]) -> Scorer:
    settings = settings_on("127.0.0.1:1", "x.")
    emitter = Emitter(settings)
    return Scorer(settings, metrics=Metrics(), encoder=text_encoder("static"), emitter=emitter, owners=Told(told))


def row(item: str, offset: int, clicks: int) -> Any:
    value = msgspec.msgpack.encode(ItemRow(offset, {1: clicks}, positives=clicks, popularity=[1.0] * 7))
    return SimpleNamespace(key=item.encode(), value=value, headers=[("generation", b"1")], partition=0)


def card(item: str) -> Any:
    made = ItemCard(item_id=item, codebook="c", codes=[0], suffix=0, assigned_at=0, uploaded_at=0, published_at_ms=1)
    return SimpleNamespace(key=item.encode(), value=msgspec.json.encode(made), headers=[], partition=0)


def test_an_unknown_item_takes_no_place_in_what_answers_and_counts_once_it_is_uploaded() -> None:
    scorer = scorer_that_tells(told := [])
    for n in range(100):
        scorer.rows.on_records([row(f"url-{n}", 4, n + 1)])
    assert len(scorer.recommender.catalog) == 0
    assert len(scorer.rows.waiting) == 100
    assert scorer.rows.counters("url-7") == {1: 8}
    scorer.rows.on_records([row("url-7", 2, 1)])  # of a former owner
    assert scorer.rows.counters("url-7") == {1: 8}
    assert told == [(0, "url-7", 2)]
    scorer.on_card(card("url-7"))
    assert (len(scorer.recommender.catalog), len(scorer.rows.waiting)) == (1, 99)
    assert scorer.recommender.catalog.positives_N[0] == 8
    scorer.rows.on_records([row("url-7", 9, 9)])
    assert scorer.rows.counters("url-7") == {1: 9}
    scorer.close()


def test_a_row_that_has_expired_leaves_the_scorer() -> None:
    scorer = scorer_that_tells([])
    scorer.on_card(card("a"))
    for item in ("a", "url"):
        scorer.rows.on_records([row(item, 4, 3)])
        no_end = SimpleNamespace(key=item.encode(), value=None, headers=[], partition=0)
        scorer.rows.on_records([no_end])
        assert scorer.rows.counters(item) == {1: 3}, "a null value of somebody else"
        scorer.rows.on_records([SimpleNamespace(key=item.encode(), value=None, headers=[(EXPIRED, b"9")], partition=0)])
        assert scorer.rows.counters(item) == {}
        scorer.rows.on_records([row(item, 9, 1)])
        assert scorer.rows.counters(item) == {1: 1}
    assert scorer.recommender.catalog.positives_N[0] == 1
    scorer.close()


def test_those_that_wait_are_bounded_by_their_bytes() -> None:
    waiting = WaitingRows(kept_bytes=100)
    for n in range(20):
        waiting.put(str(n % 7), b" " * 30)
    assert (len(waiting), waiting.dropped) == (3, 17)
    waiting.put("5", b" " * 90)
    assert len(waiting) == 1
    waiting.drop("5")
    for n in range(3):
        waiting.put(str(n), b" " * 30)
    assert len(waiting) == 3, "what was dropped takes no room"


def test_what_had_to_go_is_asked_for_again() -> None:
    scorer = scorer_that_tells(told := [])
    scorer.rows.waiting = WaitingRows(kept=2)
    for n in range(5):
        scorer.rows.on_records([row(f"url-{n}", 4, 1)])
    assert (len(scorer.rows.waiting), scorer.rows.waiting.dropped) == (2, 3)
    scorer.on_card(card("url-0"))
    assert ("wanted", 0, "url-0") in told
    scorer.close()
