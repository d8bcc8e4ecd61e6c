"""Notes: an answer is as long as was asked for, or says why not, and every live item is accounted for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.requests import Answer, Request
from tests.small_world import START, World, card, world_of
from trainer.notes import notes_of
from trainer.recommender import RecommenderRules

ITEMS = [f"i{number}" for number in range(8)]
some_items = st.sets(st.sampled_from(ITEMS))


def told(answer: Answer) -> dict[str, int]:
    return {note.reason: note.items for note in answer.notes}


@settings(max_examples=50)
@given(live=some_items, liked=some_items, refused=some_items, excluded=some_items, k=st.integers(1, 10))
def test_every_live_item_is_in_the_answer_or_accounted_for(
    live: set[str], liked: set[str], refused: set[str], excluded: set[str], k: int
) -> None:
    answer = world_of(live, liked=liked, refused=refused).ask("u", k=k, exclude=tuple(sorted(excluded)))
    notes = told(answer)
    if len(answer.items) == k:
        assert notes == {}
        return
    assert notes.pop("few_live", len(live)) == len(live)
    assert len(answer.items) + sum(notes.values()) == len(live)
    assert answer.notes
    assert all(note.text for note in answer.notes)


def test_a_catalogue_larger_than_what_the_sources_propose_fills_the_answer() -> None:
    world = World()
    for number in range(150):
        world.recommender.insert(card(number, START + number))
    answer = world.ask("somebody", k=100)
    assert len({item.item_id for item in answer.items}) == 100
    assert answer.notes == []
    assert answer.items[-1].source in ("rest", "fresh")


def test_who_has_everything_is_told() -> None:
    answer = world_of({"i1", "i2"}, liked={"i1", "i2"}).ask("u", k=5)
    assert answer.items == []
    assert told(answer) == {"few_live": 2, "had": 2}
    assert [note.text for note in answer.notes] == [
        "2 live items: fewer than the 5 asked for",
        "the user has had 2 of 2 live items",
    ]


def test_where_items_repeat_nothing_is_withheld_that_the_user_has() -> None:
    world = World(RecommenderRules(explore_share=0.0, repeats=True))
    world.recommender.insert(card(1))
    world.engage("u", "i1", START)
    assert [item.item_id for item in world.ask("u", k=1).items] == ["i1"]


@pytest.mark.parametrize("taken_down", [False, True])
def test_like_an_item_that_is_not_there_is_nothing_and_elsewhere_it_is_noted(taken_down: bool) -> None:
    world = world_of({"i1", "i2"} | ({"i7"} if taken_down else set()))
    world.recommender.remove("i7")
    similar = world.ask("u", task="similar", item_id="i7", k=2)
    assert (similar.items, told(similar)) == ([], {"unknown_item": 0})
    home = world.ask("u", item_id="i7", k=2)
    assert (len(home.items), told(home)) == (2, {"unknown_item": 0})
    assert "'i7' is not in the catalogue" in home.notes[0].text


def test_items_that_came_while_the_answer_was_made_are_no_riddle() -> None:
    catalog = world_of({"i1", "i2", "i3"}).recommender.catalog
    assert [note.reason for note in notes_of(catalog, Request(k=2), None, lines=1)] == ["just_came"]


def test_filters_and_unknown_candidates_are_told_of() -> None:
    world = World()
    for number in range(6):
        world.recommender.insert(card(number, category="art" if number < 2 else "war"))
    assert told(world.ask(k=3, categories=("art",))) == {"filtered": 4}
    assert told(world.ask(k=2, candidates=("i1", "i2", "never seen"))) == {"unknown_candidates": 1}
    assert told(world.ask(k=3, candidates=("i1", "i2", "never seen"))) == {"unknown_candidates": 1, "filtered": 4}
