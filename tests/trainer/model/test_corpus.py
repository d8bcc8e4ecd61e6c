"""The corpus: a window of the log as arrays in which a user's history is what lies right before an event."""

from __future__ import annotations

from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.log import LoggedEngagement
from tests.trainer.worlds import NOW, WEIGHTS, WIDTHS, card, cards, corpus, engagement, logged, stream
from trainer.model.corpus import (
    VECTOR_WIDTH,
    Corpus,
    at_or_after,
    content_of,
    corpus_of,
    cut_offsets,
    held_out,
    moments,
    popularity_of,
    recency,
    text_of,
)


@pytest.fixture(scope="module")
def world() -> Corpus:
    return corpus()


acts = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["cats-0", "dogs-1", "cars-2", "no such item"]), st.floats(0, 1e6)),
    max_size=25,
)


@given(acts=acts, random=st.randoms())
def test_a_history_is_the_slice_before_whatever_the_order_of_reading(
    acts: list[tuple[int, str, float]], random: Random
) -> None:
    log = logged([engagement(n, f"user-{user}", item, NOW + at) for n, (user, item, at) in enumerate(acts)])
    read = list(log)
    random.shuffle(read)
    found = corpus_of(read, cards(), WEIGHTS)
    of_users: dict[str, list[LoggedEngagement]] = {}
    for one in log:
        if one.event.item_id in cards():
            of_users.setdefault(one.event.user_id, []).append(one)
    assert found.user_ids == sorted(of_users)
    told = zip(found.user_E.tolist(), found.item_E.tolist(), found.offset_E.tolist(), strict=True)
    assert [(found.user_ids[user], found.item_ids[item], offset) for user, item, offset in told] == [
        (user, one.event.item_id, one.offset) for user in sorted(of_users) for one in of_users[user]
    ]


def test_what_is_not_said_is_marked_as_such() -> None:
    plain = engagement(0, "user-0", "cats-0", NOW)
    told = msgspec.structs.replace(plain, event_id="1", value=0.5, task="search", country="NL", query="cat")
    found = corpus_of(logged([plain, told]), cards(), WEIGHTS, {"user-0": {"age": 7.0}, "user-9": {"age": 8.0}})
    assert np.isnan(found.value_E).tolist() == [True, False]
    assert found.task_E.tolist()[0] == -1 != found.task_E.tolist()[1]
    assert [found.places[place] for place in found.from_E.tolist()] == [(None, None), ("NL", None)]
    assert dict(found.asked) == {1: ("cat", None)}
    assert dict(found.attributes) == {0: {"age": 7.0}}


def test_an_items_vector_is_the_published_one_if_it_has_the_width() -> None:
    vectors = {"cats-0": np.ones(VECTOR_WIDTH), "cats-1": np.ones(VECTOR_WIDTH + 1)}
    found = corpus_of([], cards(), WEIGHTS, vectors=vectors)
    known = {item_id for item_id, vector_V in zip(found.item_ids, found.vector_IV, strict=True) if vector_V.any()}
    assert known == {"cats-0"}


def test_an_item_is_known_by_its_words_and_its_content() -> None:
    one = msgspec.structs.replace(card(0, 1), title="", category="pets")
    assert text_of(one) == "cats, pets"
    content_NC = content_of([card(0, 1), card(0, 1), card(2, 1)])
    np.testing.assert_array_equal(content_NC[0], content_NC[1])
    assert (content_NC[0] != content_NC[2]).any()


def test_gaps_start_anew_with_each_user(world: Corpus) -> None:
    gaps = world.gap_E()
    first = np.diff(world.user_E, prepend=-1) != 0
    assert np.isinf(gaps[first]).all()
    assert (gaps[~first] == 3600.0).all()


@settings(max_examples=30)
@given(newest=st.integers(0, 800))
def test_a_cut_holds_out_the_newest_and_in_each_partition_all_that_follows(world: Corpus, newest: int) -> None:
    cut = cut_offsets(world, newest)
    held_E = held_out(world, cut)
    assert held_E.sum() == min(newest, len(world))
    for partition, offset in cut.items():
        here_E = world.partition_E == partition
        assert world.offset_E[here_E & held_E].min() == offset
        assert world.offset_E[here_E & ~held_E].max(initial=-1) < offset
    by_time = np.argsort(world.stamp_E, kind="stable")
    assert held_E[by_time[len(by_time) - min(newest, len(by_time)) :]].all()


def test_a_partition_that_is_not_named_holds_nothing_out(world: Corpus) -> None:
    held_E = at_or_after(world, {1: 0})
    assert set(world.partition_E[held_E].tolist()) == {1}
    assert not at_or_after(world, {}).any()


def test_refusals_do_not_move_the_cut(world: Corpus) -> None:
    refusals = [
        msgspec.structs.replace(engagement(9_000 + n, "user-0", "cats-1", NOW + 1e7 + n), kind="skip")
        for n in range(30)
    ]
    assert cut_offsets(corpus([*stream(), *refusals]), 50) == cut_offsets(world, 50)


def test_newer_engagements_count_more_down_to_a_floor(world: Corpus) -> None:
    order = np.argsort(world.occurred_E, kind="stable")
    weight_E = recency(world, np.ones(len(world), bool), half_life=0.25, floor=0.1)[order]
    assert (np.diff(weight_E) > 0).all()
    assert weight_E[0] == pytest.approx(0.1 + 0.5**4, abs=1e-2)
    assert weight_E[-1] == pytest.approx(1.1)
    quarter = len(world) // 4
    assert (weight_E[-1 - quarter] - 0.1) * 2 == pytest.approx(weight_E[-1] - 0.1)
    some_E = np.arange(len(world)) % 2 == 0
    assert (recency(world, some_E)[~some_E] == 0.1).all()


def test_moments_rise_with_time_and_the_prior_of_one_knows_nothing_later(world: Corpus) -> None:
    prior, moment_E = moments(world, np.ones(len(world), bool), WIDTHS)
    order = np.argsort(world.occurred_E, kind="stable")
    assert (np.diff(moment_E[order]) >= 0).all()
    assert moment_E.min() == 0
    counts = [float(prior.at(moment).weights[0].sum()) for moment in (0, int(moment_E.max()))]
    assert counts[0] == 0 < counts[1], "at first nothing has been taken"


def test_popularity_is_told_in_event_time_and_in_the_weight_of_an_engagement() -> None:
    def told(pace: float) -> dict[str, float]:
        events = [engagement(n, "user-0", "cats-0", NOW + n * pace) for n in range(1000)]
        world = corpus(events)
        return popularity_of(world, np.ones(len(world), bool))

    slow, quick = told(100.0), told(10.0)
    assert slow["half_life_s"] == pytest.approx(10 * quick["half_life_s"])
    assert slow["half_life_s"] == pytest.approx(100 * 100.0, rel=0.02), "the least: a hundred engagements"
    assert slow["unit"] == WEIGHTS["click"]
    assert popularity_of(corpus(), np.zeros(len(corpus()), bool)) == {}
