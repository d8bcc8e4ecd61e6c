"""Edges: both ends of each item, in order, and each weight's share of its end."""

from __future__ import annotations

import numpy as np
import pytest

from store.items import ItemRow
from trainer.items.catalog import Catalog
from trainer.retrieval.edges import Edges


def test_edges_lie_behind_each_other_out_of_each_item_then_into_it() -> None:
    catalog = Catalog()
    a, b, c = (catalog.handle(name) for name in "abc")
    catalog.update("b", ItemRow(neighbours={"a": 1.0, "c": 3.0}))
    catalog.update("c", ItemRow(neighbours={"a": 2.0}))
    edges = Edges.of(catalog, np.array([b, a]), len(catalog))
    assert edges.item_E.tolist() == [a, c, b, c]
    assert edges.into_E.tolist() == [True, True, False, False]
    assert edges.place_E.tolist() == [0, 0, 1, 1]
    assert edges.share_E == pytest.approx([1 / 4, 3 / 4, 1 / 3, 2 / 3])
    assert Edges.of(catalog, np.array([a]), c).item_E.tolist() == [b], "what is newer is left out"
    assert len(Edges.of(catalog, np.zeros(0, np.int64), c).item_E) == 0
