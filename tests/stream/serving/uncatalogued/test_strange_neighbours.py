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
        scorer.on_row(naming("a", n, "b", *(f"url-{20 * n + place}" for place in range(20))))
    assert len(catalog) == 2
    assert catalog.transitions.into(catalog.handles["a"])[0].tolist() == [catalog.handles["b"]]
    scorer.on_card(card("url-999"))
    assert [(what[0], what[2]) for what in told if what[0] == "wanted"] == [("wanted", "a")]
    scorer.on_row(naming("a", 50, "b", "url-999"))
    assert catalog.transitions.into(catalog.handles["a"])[0].tolist() == [
        catalog.handles["b"],
        catalog.handles["url-999"],
    ]
    scorer.close()


def test_only_so_many_are_noted() -> None:
    strangers = StrangeNeighbours(kept=10)
    row = ItemRow(neighbours={f"url-{n}": 1.0 for n in range(30)} | {"b": 2.0})
    assert strangers.without("a", row, {"b"}).neighbours == {"b": 2.0}
    assert len(row.neighbours) == 31, "the row is another's"
    assert (len(strangers), strangers.met("url-0"), strangers.met("url-29")) == (10, [], ["a"])


def test_a_row_of_known_neighbours_is_taken_as_it_is() -> None:
    row = ItemRow(neighbours={"b": 1.0})
    assert StrangeNeighbours().without("a", row, {"b"}) is row
