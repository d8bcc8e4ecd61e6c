"""Reasons: every source that proposes candidates has a sentence of its own, the one that ranks highest stands, and who
asks for an explanation is told the past item without which the score would be least."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest

from store.requests import Request
from tests.small_world import START, World, card, two_tastes
from trainer.answers import Served
from trainer.reasons import EXPLORE, reason, winners
from trainer.retrieval.candidates import gather
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.taste import taste_of


def test_the_source_that_ranks_an_item_highest_stands_for_it() -> None:
    proposed = {"follows": np.array([3, 1]), "near_taste": np.array([1, 3]), "popular_4": np.array([7, 8, 9, 1])}
    assert winners(proposed, np.array([1, 3, 8, 99])) == ["near_taste", "follows", "popular", ""]
    assert winners({}, np.array([1])) == [""]


def test_a_reason_names_what_speaks_for_the_line() -> None:
    assert "“Sourdough”" in reason("together", "Sourdough")
    assert "what you chose" in reason("together", "")


def test_every_source_has_a_sentence_that_is_true_of_it() -> None:
    world = World()
    for number in range(30):
        world.recommender.insert(card(number, START))
    for n in range(200):
        world.engage(f"u{n % 20}", f"i{(n * 7) % 30}", START + n)
    recommender = world.recommender
    rules = recommender.rules.candidates
    taste = taste_of(world.users["u3"], recommender.catalog, rules)
    evidence = Evidence(recommender.catalog, recommender.spectral, recommender.published, taste, rules)
    sources = [*gather(evidence, recommender.catalog.live_N[: evidence.size]), "model", EXPLORE]
    assert len(sources) > 10
    other = reason("no source of this name", "x")
    sentences = {source: reason(source, "x") for source in sources}
    assert [source for source, told in sentences.items() if told == other and not source.startswith("follows")] == []


@pytest.mark.parametrize("title", ["{title}", "{0}", "100 % {"])
def test_a_title_is_told_as_it_is(title: str) -> None:
    assert title in reason("follows", title)


def test_without_the_item_that_is_named_the_score_is_least() -> None:
    """Who never met it has the same items ranked, among candidates of their own: so it need not hold always."""
    world, held, places = two_tastes(), Counter[bool](), Counter[int]()
    recommender = world.recommender
    for number in range(0, 50, 8):
        user = world.users[f"u{number}"]
        lines = world.ask(f"u{number}", explain=True).items
        again = Request(user_id="u", k=10, candidates=tuple(line.item_id for line in lines))
        past = list(dict.fromkeys(entry.item_id for entry in user.positives()))
        left = {item_id: scores(recommender.answer(again, user.without(item_id))) for item_id in past}
        for line in lines:
            if isinstance(line.because, str):
                told = {item_id: score[line.item_id] for item_id, score in left.items()}
                held[told[line.because] <= min(told.values()) + 1e-9] += 1
                places[past.index(line.because)] += 1
    assert held.total() >= 40, held
    assert held[False] <= 0.2 * held.total(), (held, places)
    assert len(places) > 2, "it is not simply the last one"


def scores(served: Served) -> dict[str, float]:
    return {line.item_id: line.score for line in served.answer.items}


def test_only_who_asks_for_an_explanation_is_told_more() -> None:
    world = two_tastes()
    assert all(line.because is line.words is line.heads is msgspec.UNSET for line in world.ask("u3").items)
    explained = world.ask("u3", explain=True).items
    assert all(isinstance(line.words, list) for line in explained)
    assert [line.item_id for line in explained] == [line.item_id for line in world.ask("u3").items]
    assert all(line.because is msgspec.UNSET for line in world.ask("nobody", explain=True).items)


def test_the_item_being_viewed_may_be_the_reason() -> None:
    world = two_tastes()
    lines = world.ask("nobody", task="next", item_id="i4", explain=True).items
    assert "i4" in [line.because for line in lines]
