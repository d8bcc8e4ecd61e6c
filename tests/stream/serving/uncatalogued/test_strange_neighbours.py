"""Neighbours without a card take no place in what answers, and count once their card has come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec

from store.items import ItemRow
from stream.serving.uncatalogued.strange_neighbours import StrangeNeighbours
from tests.stream.serving.uncatalogued.test_waiting_rows import card, scorer_that_tells


def naming(item: str, offset: int, *neighbours: str) -> Any:
    row = ItemRow(offset, {1: 1}, positives=1, popularity=[1.0] * 7, neighbours=dict.fromkeys(neighbours, 1.0))
    return SimpleNamespace(
        key=item.encode(), value=msgspec.msgpack.encode(row), headers=[("generation", b"1")], partition=0
    )


def test_what_nobody_has_uploaded_does_not_grow_the_catalogue_by_being_named() -> None:
    scorer = scorer_that_tells(told := [])
    catalog = scorer.recommender.catalog
    scorer.on_card(card("a"))
    scorer.on_card(card("b"))
    for n in range(50):
        scorer.rows.on_records([naming("a", n, "b", *(f"url-{20 * n + place}" for place in range(20)))])
    assert len(catalog) == 2
    assert catalog.transitions.into(catalog.handles["a"])[0].tolist() == [catalog.handles["b"]]
    scorer.on_card(card("url-999"))
    assert [(what[0], what[2]) for what in told if what[0] == "wanted"] == [("wanted", "a")]
    scorer.rows.on_records([naming("a", 50, "b", "url-999")])
    assert catalog.transitions.into(catalog.handles["a"])[0].tolist() == [
        catalog.handles["b"],
        catalog.handles["url-999"],
    ]
    scorer.close()


def test_only_so_many_are_noted() -> None:
    strangers = StrangeNeighbours(kept=10)
    for n in range(30):
        strangers.note(f"url-{n}", "a")
    assert (len(strangers), strangers.met("url-0"), strangers.met("url-29")) == (10, [], ["a"])
