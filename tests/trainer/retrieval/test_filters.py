"""What may be returned is set algebra: live, without what the user has, turned away, or looks at."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from store.histories import UserRow
from store.requests import Request
from tests.small_world import START, World, card, world_of
from trainer.retrieval.filters import allowed_items

ITEMS = [f"i{number}" for number in range(8)]
some_items = st.sets(st.sampled_from(ITEMS))


@settings(max_examples=50)
@given(
    live=some_items,
    liked=some_items,
    refused=some_items,
    viewed=st.sampled_from([*ITEMS, "never seen", None]),
    repeats=st.booleans(),
    excluded=st.sets(st.sampled_from([*ITEMS, "nobody's"])),
)
def test_only_what_is_live_new_to_the_user_wanted_and_not_looked_at(
    live: set[str], liked: set[str], refused: set[str], viewed: str | None, repeats: bool, excluded: set[str]
) -> None:
    world = world_of(live, liked=liked, refused=refused)
    catalog = world.recommender.catalog
    allowed_N = allowed_items(catalog, Request(item_id=viewed, exclude=tuple(excluded)), world.users.get("u"), repeats)
    have = set() if repeats else liked
    assert {catalog.ids[handle] for handle in allowed_N.nonzero()[0]} == live - have - refused - excluded - {viewed}


def test_the_catalogue_is_left_as_it_was() -> None:
    world = World()
    world.recommender.insert(card(1))
    allowed_items(world.recommender.catalog, Request(item_id="i1"), None)
    assert allowed_items(world.recommender.catalog, Request(), UserRow()).tolist() == [True]


def test_what_left_the_history_but_is_remembered_as_had_stays_away() -> None:
    world = World()
    world.recommender.insert(card(1))
    world.engage("u", "i1", START)
    row = world.users["u"]
    row.entries = []
    assert not allowed_items(world.recommender.catalog, Request(), row).any()


def test_what_left_the_history_but_was_turned_away_stays_away() -> None:
    world = World()
    world.recommender.insert(card(1))
    world.engage("u", "i1", START, kind="hide")
    world.users["u"].entries = []
    assert not allowed_items(world.recommender.catalog, Request(), world.users["u"]).any()
    assert not allowed_items(world.recommender.catalog, Request(), world.users["u"], repeats=True).any()
