"""What people come back to is proposed where it may come repeats, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from store.histories import UserRow
from tests.small_world import START, World, card
from trainer.items.item_learning import DAY_S
from trainer.recommender import RecommenderRules
from trainer.retrieval.repeats import repeats_of


def world_of_songs(*, repeats: bool) -> World:
    """u0 hears i0 repeats and repeats, and once each of many others; everybody else hears what is popular."""
    world = World(RecommenderRules(explore_share=0.0, repeats=repeats))
    for number in range(40):
        world.recommender.insert(card(number))
    for n in range(200):
        world.engage(f"other{n % 20}", f"i{20 + n % 20}", START + n * DAY_S / 100)
    for n in range(12):
        world.engage("u0", "i0" if n % 2 else f"i{n + 1}", START + 2 * DAY_S + n * 600)
    return world


@pytest.mark.parametrize("repeats", [True, False])
def test_what_one_comes_back_to_is_recommended_only_where_it_may_be(repeats: bool) -> None:
    answer = world_of_songs(repeats=repeats).ask("u0", k=10)
    found = [item.item_id for item in answer.items]
    assert ("i0" in found[:3]) is repeats
    if repeats:
        assert answer.items[found.index("i0")].reason.startswith(("You keep coming back", "Often", "People", "Chosen"))
    else:
        assert not {f"i{n}" for n in (0, 1, 3, 5, 7, 9, 11)} & set(found)


def test_times_gaps_and_shares_are_those_of_the_history() -> None:
    world = world_of_songs(repeats=True)
    catalog = world.recommender.catalog
    repeats = repeats_of(world.users["u0"], catalog, 0.7)
    asked = np.array([catalog.handles["i39"], catalog.handles["i0"], catalog.handles["i3"]])
    times_B, last_at_B = repeats.of(asked)
    assert times_B.tolist() == [0, 6, 1]
    assert last_at_B[:2].tolist() == [0.0, START + 2 * DAY_S + 11 * 600]
    assert 0 < last_at_B[2] < last_at_B[1]
    share_N = repeats.scored(len(catalog)).of("repeats", np.arange(len(catalog)))
    assert share_N.sum() == pytest.approx(1.0)
    assert share_N.argmax() == catalog.handles["i0"]


def test_who_has_nothing_comes_back_to_nothing() -> None:
    world = world_of_songs(repeats=True)
    for user in (None, UserRow()):
        repeats = repeats_of(user, world.recommender.catalog, 0.7)
        assert repeats.of(np.arange(3))[0].tolist() == [0, 0, 0]
