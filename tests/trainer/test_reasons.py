"""Reasons: every source that proposes candidates has a sentence of its own, and the one that ranks highest stands."""

from __future__ import annotations

import numpy as np
import pytest

from tests.small_world import START, World, card
from trainer.reasons import EXPLORE, reason, winners
from trainer.retrieval.candidates import gather
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.taste import taste_of


def test_the_source_that_ranks_an_item_highest_stands_for_it() -> None:
    proposed = {"follows": np.array([3, 1]), "near_taste": np.array([1, 3]), "popular_4": np.array([7, 8, 9, 1])}
    assert winners(proposed, np.array([1, 3, 8, 99])) == ["near_taste", "follows", "popular", ""]
    assert winners({}, np.array([1])) == [""]


def test_a_reason_names_what_was_chosen_last() -> None:
    assert "“Sourdough”" in reason("together", "Sourdough")
    assert "what you chose last" in reason("together", "")


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
