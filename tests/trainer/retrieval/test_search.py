"""Search: words of a title find their item, whatever is popular and whichever ranker orders; meaning finds the rest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import Engagement, Upload
from store.histories import HistoryRules, UserRow
from store.histories import absorb as absorb_engagement
from store.items import ItemCard, ItemRow
from store.requests import Request
from store.settings import Settings
from stream.demo.population import Census, Population
from trainer.content.encoders import text_encoder
from trainer.content.words import terms_of
from trainer.items.item_learning import absorb as absorb_signal
from trainer.model_bundle import ModelBundle
from trainer.ranking.learner import RankerLearner, RankerRules
from trainer.ranking.ranker import HeuristicRanker
from trainer.recommender import Recommender, RecommenderRules
from trainer.retrieval.search import WordIndex, by_relevance
from trainer.semantic_ids.cards import cards_of
from trainer.semantic_ids.codebook import zero_codebook

RULES = HistoryRules(weights=Settings().events.weights)


def card(number: int, title: str) -> ItemCard:
    given = {"item_id": f"i{number}", "codebook": "c", "codes": [0], "suffix": 0, "assigned_at": 0.0}
    return msgspec.convert({**given, "uploaded_at": 0.0, "published_at_ms": 0, "title": title}, ItemCard)


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.sampled_from(["a b", "b c", "c", "", "a c d"])))))
def test_the_index_is_that_of_the_cards_it_was_last_told(steps: list[tuple[int, str | None]]) -> None:
    index, now = WordIndex(), {}
    for handle, title in steps:
        new = None if title is None else card(handle, title)
        index.replace(handle, now.pop(handle, None), new)
        if new is not None:
            now[handle] = new
    for word in "abcd":
        having = {handle for handle, known in now.items() if word in terms_of(known)}
        assert set(index.match(word, 6).handles_M.tolist()) == having
    assert index.match("a b", 6).columns["words"].max(initial=0.0) <= 1.0 + 1e-6


def test_rare_words_say_more_than_common_ones() -> None:
    index = WordIndex()
    for handle, title in enumerate(["the the lamp", "the violin", "the desk", "the shelf"]):
        index.replace(handle, None, card(handle, title))
    match_N = index.match("the violins", 4).of("words", np.arange(4))
    assert match_N[1] == pytest.approx(1.0)
    assert 0 < match_N[0] < 0.5
    assert match_N[0] == match_N[2] == match_N[3]


def test_relevance_decides_and_the_ranker_orders_equals() -> None:
    score_B = by_relevance(np.array([0.0, 1.0, 1.0, 0.5]), np.array([1e9, -3.0, -2.0, 5.0]))
    assert np.argsort(-score_B).tolist() == [2, 1, 3, 0]


@dataclass(frozen=True)
class Searched:
    """A small population's items, searched under the prior and under a ranker that has never seen a search."""

    recommender: Recommender
    themes: dict[str, str | None]

    def ask(self, query: str, k: int = 10) -> list[str]:
        answer = self.recommender.answer(Request(user_id="someone", task="search", query=query, k=k), None).answer
        return [line.item_id for line in answer.items]


@pytest.fixture(scope="module", params=["prior", "fitted"])
def searched(request: pytest.FixtureRequest) -> Searched:
    encoder, book = text_encoder("static"), zero_codebook(Settings())
    recommender = Recommender(
        RecommenderRules(explore_share=0.0), encode=lambda text: encoder.encode([text])[0], serving=ModelBundle(book)
    )
    learner = RankerLearner(RankerRules(first=50, min_rows=5, trees=40))
    users: dict[str, UserRow] = {}
    items: dict[str, ItemRow] = {}
    themes: dict[str, str | None] = {}
    census = Census(first_items=300, users=60, seed=1)  # of seven, 0, 2 and 5 have two of another theme among the four
    for offset, event in enumerate(islice(iter(Population(census)), 1300)):
        if isinstance(event, Upload):
            themes[event.item_id] = event.category
            recommender.insert(cards_of([(event, 0)], encoder, book, event.uploaded_at)[0])
        elif isinstance(event, Engagement):
            user = users.setdefault(event.user_id, UserRow())
            ranked = recommender.example(user, event) if offset > 700 else None
            if ranked is not None:
                learner.absorb(ranked.example)
            signal = absorb_engagement(user, event, offset, 0, RULES)
            if signal is not None:
                row = items.setdefault(event.item_id, ItemRow())
                absorb_signal(row, signal, recommender.rules.item)
                recommender.update(event.item_id, row)
    recommender.maintain()
    ranker = learner.refit() if request.param == "fitted" else HeuristicRanker()
    recommender.exchange_ranker(ranker)
    return Searched(recommender, themes)


def test_words_of_a_title_bring_that_item_into_the_first_ten(searched: Searched) -> None:
    for item in list(searched.themes)[::12]:
        handle = searched.recommender.catalog.handles[item]
        known = searched.recommender.catalog.cards[handle]
        assert known is not None
        assert item in searched.ask(known.title), known.title


def test_what_is_about_the_query_in_other_words_is_found(searched: Searched) -> None:
    for query, theme in (("space", "astronomy"), ("cooking", "cooking")):
        found = [searched.themes[item] for item in searched.ask(query, 4)]  # no title or tag has the word "space"
        assert found.count(theme) >= 3, found


def test_what_was_taken_down_or_renamed_is_not_found_by_its_old_words(searched: Searched) -> None:
    recommender = searched.recommender
    recommender.insert(card(1, "zyzzyva quux"))
    assert searched.ask("zyzzyva", 1) == ["i1"]
    recommender.insert(card(1, "plain"))
    assert searched.ask("zyzzyva telescope", 1) != ["i1"]
    assert searched.ask("plain", 1) == ["i1"]
    recommender.remove("i1")
    assert "i1" not in searched.ask("plain", 100)
