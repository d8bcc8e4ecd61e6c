"""Examples: engagements as they were before them, against what else could have been recommended then."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from store.histories import UserRow
from tests.small_world import START, World, card, two_tastes
from trainer.examples import request_of
from trainer.items.item_learning import DAY_S
from trainer.ranking.columns import COLUMNS
from trainer.ranking.example import Example


@pytest.fixture
def world() -> World:
    return two_tastes()


def test_an_example_is_the_engagement_as_it_was_before_it(world: World) -> None:
    at = START + 6 * DAY_S
    event = world.event("u1", "i3", at)
    have = UserRow()
    example = world.example(have, event)
    assert example is not None
    assert example.found
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(example), type=Example) == example
    group = example.group()
    assert group is not None
    assert len(group.candidates_BF) == min(world.recommender.rules.negatives.candidates + 1, example.candidates)
    assert example.cold_negatives == 0, "it is no longer untouched"
    assert example == world.example(have, event)
    unordered = world.recommender.example(have, event, ordered=False)
    assert unordered is not None
    assert unordered.example.features == example.features
    world.engage("u9", "i3", at)
    assert world.example(have, event) != example


def test_a_first_engagement_is_an_example_against_others_as_untouched(world: World) -> None:
    for number in range(100, 110):
        world.recommender.insert(card(number, START + 5 * DAY_S))
    event = world.event("u1", "i103", START + 6 * DAY_S)
    example = world.example(world.users["u1"], event)
    assert example is not None
    first_RF = example.first_engagement()
    assert first_RF is not None
    assert example.cold_negatives == len(first_RF) - 1 == world.recommender.rules.negatives.cold
    assert (first_RF[:, COLUMNS["positives"]] == 0).all()
    assert len(np.unique(first_RF[1:, COLUMNS["content_taste"]])) > 1
    world.engage("u2", "i103", START + 6 * DAY_S)
    later = world.example(world.users["u1"], world.event("u1", "i103", START + 7 * DAY_S))
    assert later is not None
    assert later.first_engagement() is None


def test_an_engagement_that_could_not_have_been_recommended_is_no_example(world: World) -> None:
    have = world.users["u1"].entries[0].item_id
    assert world.example(world.users["u1"], world.event("u1", have, START)) is None
    assert world.example(None, world.event("u1", "unheard of", START)) is None


def test_an_example_says_where_its_item_stood_and_who_it_was_drawn_against(world: World) -> None:
    event = world.event("u1", "i3", START + 6 * DAY_S)
    ranked = world.recommender.example(UserRow(), event, weight=0.5)
    assert ranked is not None
    example, ranking = ranked
    ids = [ranking.evidence.catalog.ids[handle] for handle in ranking.handles_B.tolist()]
    assert (example.rank, example.candidates) == (ids.index("i3"), len(ids))
    assert (example.weight, example.positives) == (0.5, world.items["i3"].positives)
    assert example.items[0] == "i3"
    assert set(example.items) <= set(ids)
    rows_AF = ranking.x_BF[[ids.index(item) for item in example.items]]
    assert example.rows().tobytes() == rows_AF.astype("<f2").tobytes(), "features other than it was ranked by"


def test_the_request_is_what_the_event_tells(world: World) -> None:
    event = world.event("u1", "i3", START)
    assert request_of(event).task == "next"
    told = msgspec.structs.replace(event, task="similar", context_item_id="i5", query="q", country="NO", device="tv")
    request = request_of(told)
    assert (request.user_id, request.task, request.item_id) == ("u1", "similar", "i5")
    assert (request.query, request.country, request.device) == ("q", "NO", "tv")
    assert request_of(msgspec.structs.replace(event, task="a task of tomorrow")).task == "next"
