from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.items import ItemCard, ItemRow
from store.signals import Signal
from trainer.items.catalog import Catalog, HotLists
from trainer.items.item_learning import DAY_S, ItemRules, absorb

RULES = ItemRules(neighbours=6, slack=3, neighbour_half_life_s=10 * DAY_S)


def card(item_id: str, at: float = 0.0) -> ItemCard:
    return ItemCard(
        item_id=item_id, codebook="c", codes=[1], suffix=0, assigned_at=at, uploaded_at=at, published_at_ms=0
    )


def graph(catalog: Catalog) -> dict[tuple[str, str], float]:
    """(earlier, later) → log2 weight, as the incoming side tells it."""
    return {
        (catalog.ids[source], catalog.ids[target]): round(float(weight), 3)
        for target in range(len(catalog))
        for source, weight in zip(*catalog.transitions.into(target), strict=True)
    }


def graph_from_the_other_end(catalog: Catalog) -> dict[tuple[str, str], float]:
    return {
        (catalog.ids[source], catalog.ids[target]): round(float(weight), 3)
        for source in range(len(catalog))
        for target, weight in zip(*catalog.transitions.out_of(source), strict=True)
    }


events = st.lists(
    st.tuples(st.sampled_from("abcdefghijkl"), st.lists(st.sampled_from("abcdefghijkl"), max_size=4), st.booleans()),
    max_size=60,
)


@given(events)
def test_both_ends_agree_and_skipped_rows_do_not_matter(some: list[tuple[str, list[str], bool]]) -> None:
    rows: dict[str, ItemRow] = {}
    every, coalesced = Catalog(RULES, capacity=2), Catalog(RULES, capacity=2)
    for number, (item, context, published) in enumerate(some):
        at = 1e9 + number * DAY_S
        row = rows.setdefault(item, ItemRow())
        absorb(row, Signal(item, "e", 1, at, 1.0, None, list(context)), RULES)
        every.update(item, row)
        if published:
            coalesced.update(item, row)
    for item, row in rows.items():
        coalesced.update(item, row)
    wanted = {
        (earlier, item): round(float(np.float32(np.log2(weight) + row.landmark / RULES.neighbour_half_life_s)), 3)
        for item, row in rows.items()
        for earlier, weight in row.neighbours.items()
    }
    for catalog in (every, coalesced):
        assert graph(catalog) == pytest.approx(wanted, abs=2e-3)
        assert graph_from_the_other_end(catalog) == graph(catalog)
    assert every.positives == coalesced.positives == len(some)


def test_heat_is_the_decayed_popularity_at_any_later_time() -> None:
    row, catalog = ItemRow(), Catalog(RULES)
    for at in (0.0, DAY_S, 1.5 * DAY_S):
        absorb(row, Signal("a", "e", 1, 1e9 + at, 2.0, None, []), RULES)
    handle = catalog.update("a", row)
    now = 1e9 + 5 * DAY_S
    heat_W = 2.0 ** (catalog.heat_NW[handle] - now / catalog.half_lives_s_W)
    decayed_W = np.array(row.popularity) * 2.0 ** ((row.decayed_at - now) / catalog.half_lives_s_W)
    assert heat_W[2:] == pytest.approx(decayed_W[2:], rel=1e-6)


def test_an_item_is_live_from_its_card_to_its_removal_and_behaviour_outlives_it() -> None:
    catalog = Catalog(RULES)
    row = ItemRow()
    absorb(row, Signal("a", "e", 1, 1e9, 1.0, None, ["b"]), RULES)
    catalog.update("a", row)
    assert catalog.live_count == 0
    catalog.insert(card("a"))
    catalog.insert(card("a"))
    assert catalog.live_count == 1
    catalog.remove("a")
    catalog.remove("a")
    catalog.remove("never heard of")
    assert catalog.live_count == 0
    assert graph(catalog) != {}


def test_growth_keeps_what_was_there() -> None:
    catalog = Catalog(RULES, capacity=2)
    names = [f"i{n}" for n in range(100)]
    random.Random(0).shuffle(names)
    for n, name in enumerate(names):
        handle = catalog.insert(card(name, at=float(n)))
        catalog.value_N[handle] = n
    handles = [catalog.handles[name] for name in names]
    assert catalog.uploaded_at_N[handles].tolist() == list(range(100))
    assert catalog.value_N[handles].tolist() == list(range(100))
    assert (catalog.heat_NW[len(catalog) :] < -1e29).all()


def test_hot_lists_hold_the_hottest_whatever_the_order_of_updates() -> None:
    rng = np.random.default_rng(0)
    heat_NW = np.full((5000, 2), -1e30)
    hot = HotLists(2)
    for _ in range(20_000):
        handle = int(rng.pareto(1.0) * 50) % 5000
        heat_NW[handle] = np.maximum(heat_NW[handle], rng.standard_normal(2))
        hot.rise(handle, heat_NW)
    for window in range(2):
        wanted = set(np.argsort(-heat_NW[:, window])[: HotLists.DEPTH].tolist())
        held = hot.hottest(window)
        assert wanted <= set(held.tolist())
        assert len(held) <= 2 * HotLists.DEPTH
