"""What may be returned is set algebra: live, without what the user has, turned away, or looks at."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from store.histories import UserRow
from store.requests import Request
from tests.small_world import START, World, card, world_of
from trainer.retrieval.filters import allowed_items, left_out

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


CATEGORIES, TAGS = ["art", "war", None], ["a", "b", "c"]
labelled = st.builds(
    lambda category, creator, tags, age_s: {
        "at": START - age_s,
        "category": category,
        "creator_id": creator,
        "tags": sorted(tags),
    },
    st.sampled_from(CATEGORIES),
    st.sampled_from(["x", "y"]),
    st.sets(st.sampled_from(TAGS)),
    st.integers(0, 100),
)


@settings(max_examples=50)
@given(
    described=st.lists(labelled, min_size=1, max_size=8),
    changed=st.dictionaries(st.integers(0, 7), labelled, max_size=3),
    taken_down=st.sets(st.integers(0, 7), max_size=2),
    categories=st.sets(st.sampled_from(["art", "war", "nobody's"])),
    tags=st.sets(st.sampled_from([*TAGS, "nobody's"])),
    max_age_s=st.none() | st.integers(1, 100),
    candidates=st.sets(st.sampled_from([*ITEMS, "never seen"]), max_size=6),
)
def test_a_filter_leaves_what_bears_one_of_each(
    described: list[dict[str, Any]],
    changed: dict[int, dict[str, Any]],
    taken_down: set[int],
    categories: set[str],
    tags: set[str],
    max_age_s: int | None,
    candidates: set[str],
) -> None:
    world, live = World(), dict(enumerate(described))
    for number, labels in live.items():
        world.recommender.insert(card(number, **labels))
    for number in changed.keys() & live.keys():
        live[number] = changed[number]
        world.recommender.insert(card(number, **changed[number]))
    for number in taken_down & live.keys():
        del live[number]
        world.recommender.remove(f"i{number}")
    wanted = {
        f"i{number}"
        for number, labels in live.items()
        if (not categories or labels["category"] in categories)
        and (not tags or tags & {*labels["tags"]})
        and (max_age_s is None or labels["at"] >= START - max_age_s)
        and (not candidates or f"i{number}" in candidates)
    }
    request = Request(categories=tuple(categories), tags=tuple(tags), max_age_s=max_age_s, candidates=tuple(candidates))
    catalog = world.recommender.catalog
    allowed_N = allowed_items(catalog, request, None, now_s=START)
    assert {catalog.ids[handle] for handle in allowed_N.nonzero()[0]} == wanted
    assert left_out(catalog, request, None, now_s=START)["filtered"] == len(live) - len(wanted)


def test_what_an_application_names_is_ranked_whether_the_user_has_had_it_or_not() -> None:
    world = world_of({"i1", "i2", "i3"}, liked={"i1"}, refused={"i2"})
    answer = world.ask("u", task="next", item_id="i3", candidates=("i1", "i2", "i3"), exclude=("i2",))
    assert {item.item_id for item in answer.items} == {"i1", "i3"}


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
