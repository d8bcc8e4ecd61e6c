"""Likeness of words: rare words and pairs count most, whatever the order in which items came, moved and went."""

from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest

from store.events import Engagement
from store.histories import UserRow
from store.histories import absorb as absorb_engagement
from store.items import ItemCard, ItemRow
from store.requests import Request
from store.settings import Settings, settings_from
from trainer.items.item_learning import absorb as absorb_signal
from trainer.model_bundle import ModelBundle
from trainer.ranking.columns import COLUMNS
from trainer.recommender import Recommender
from trainer.retrieval.lexical import LexicalIndex, terms_hashed
from trainer.rules import history_rules, recommender_rules
from trainer.semantic_ids.codebook import zero_codebook

TITLES = [
    "rye bread from sourdough",
    "sourdough rye bread again",
    "wheat bread",
    "guitar strings of steel",
    "steel guitar for slide",
    "",
]


def card(number: int, title: str) -> ItemCard:
    given = {"item_id": f"i{number}", "codebook": "c", "codes": [0], "suffix": 0, "assigned_at": 0.0}
    return msgspec.convert({**given, "uploaded_at": 0.0, "published_at_ms": 0, "title": title}, ItemCard)


def filled() -> LexicalIndex:
    index = LexicalIndex()
    for number, title in enumerate(TITLES):
        index.replace(number, card(number, title))
    return index


def test_two_items_are_as_alike_as_a_look_at_all_says() -> None:
    index, every = filled(), np.arange(len(TITLES))
    found_LN = np.stack([index.alike(handle, every) for handle in every.tolist()])
    assert found_LN == pytest.approx(
        np.stack([likeness(index, handle)[: len(TITLES)] for handle in every.tolist()]), abs=1e-6
    )
    assert (found_LN > 0).sum() > len(TITLES)
    assert index.alike(10_000, every).tolist() == [0.0] * len(TITLES), "one that came just now has no words yet"


def likeness(index: LexicalIndex, handle: int) -> np.ndarray:
    return likeness_of(index, [handle], len(TITLES))


def likeness_of(index: LexicalIndex, handles: list[int], size: int) -> np.ndarray:
    scored = index.likeness("words", np.array(handles), np.ones(len(handles)), size)
    return scored.of("words", np.arange(len(TITLES) + 300))


def test_the_cosine_by_hand() -> None:
    """What the same weights give when every item is compared with every other term by term. What only one item has
    cannot be shared; so an item is as like itself as the share of its length that others have, too."""
    index = filled()
    term_sets = [set(terms_hashed(card(n, title)).tolist()) for n, title in enumerate(TITLES)]
    items = sum(bool(terms) for terms in term_sets)
    count = {term: sum(term in terms for terms in term_sets) for terms in term_sets for term in terms}
    square = {term: math.log((1 + items) / count[term]) ** 2 for term in count}
    length = [math.sqrt(sum(square[term] for term in terms)) for terms in term_sets]
    for one in range(5):
        found_N = likeness(index, one)
        for other in range(5):
            if other != one:
                shared = sum(square[term] for term in term_sets[one] & term_sets[other])
                assert found_N[other] == pytest.approx(shared / (length[one] * length[other]), abs=1e-3)


def test_what_shares_rare_words_and_pairs_is_nearer_than_what_shares_a_common_one() -> None:
    found_N = likeness(filled(), 0)
    assert found_N[1] > 3 * found_N[2] > 0
    assert found_N[3] == found_N[4] == found_N[5] == 0


def test_items_that_move_and_go_leave_nothing_behind() -> None:
    index, rng = LexicalIndex(), random.Random(0)
    for _ in range(200):
        number = rng.randrange(len(TITLES))
        index.replace(number, None if rng.random() < 0.3 else card(number, rng.choice(TITLES)))
    for number, title in enumerate(TITLES):
        index.replace(number, card(number, title))
    for number in range(len(TITLES)):
        np.testing.assert_allclose(likeness(index, number), likeness(filled(), number), atol=1e-6)
    index.replace(1, None)
    assert likeness(index, 0)[1] == 0


def test_a_reader_of_an_older_catalogue_gets_its_size_and_the_unknown_are_like_nothing() -> None:
    index = filled()
    assert not likeness_of(index, [0], 2)[2:].any()
    assert not likeness_of(index, [5, 400], 6).any()
    assert not likeness_of(LexicalIndex(), [0], 3).any()


def test_a_word_that_all_have_says_nothing() -> None:
    index = LexicalIndex()
    for number in range(300):
        index.replace(number, card(number, f"the number{number}"))
    assert likeness_of(index, [0], 300)[1:].max() < 1e-3


def engage(recommender: Recommender, rows: dict[str, ItemRow], user_id: str, items: list[int]) -> UserRow:
    """The row of a user who takes these items one after the other, of which the recommender hears."""
    user = UserRow()
    for place, number in enumerate(items):
        event = Engagement(
            event_id=f"{user_id}{place}", user_id=user_id, item_id=f"i{number}", kind="click", occurred_at=1.0
        )
        signal = absorb_engagement(user, event, place, 0, history_rules(Settings()))
        assert signal is not None
        absorb_signal(rows.setdefault(event.item_id, ItemRow()), signal, recommender.rules.item)
        recommender.update(event.item_id, rows[event.item_id])
    return user


def test_words_and_counts_are_sources_and_columns() -> None:
    proposing = settings_from({"candidates": {"quotas": {"counts": 10}}})
    recommender, rows = Recommender(recommender_rules(proposing), serving=ModelBundle(zero_codebook(Settings()))), {}
    for number, title in enumerate(TITLES):
        recommender.insert(card(number, title))
    engage(recommender, rows, "u", [3, 2])
    engage(recommender, rows, "v", [3, 2])
    engage(recommender, rows, "w", [3, 1, 4])
    ranking = recommender.rank(Request(user_id="x"), engage(recommender, rows, "x", [0, 3]))
    handles = recommender.catalog.handles
    words, counts = (ranking.proposed[name].tolist() for name in ("words", "counts"))
    assert set(words) == {handles["i4"], handles["i1"], handles["i2"]}
    last_B = ranking.evidence.of("words_last", ranking.handles_B)
    assert ranking.handles_B[last_B.argmax()] == handles["i4"]
    assert counts == [handles["i2"], handles["i1"], handles["i4"]]  # twice; once; once, two places on
    for name in ("words", "words_last", "counts_and_words"):
        np.testing.assert_allclose(
            ranking.x_BF[:, COLUMNS[name]], ranking.evidence.of(name, ranking.handles_B), rtol=1e-6
        )
    evidence, twice = ranking.evidence, np.array([handles["i2"]])
    assert evidence.of("counts", twice) == pytest.approx(math.log1p(0.36 * 2) / (1 + 0.6)), "of two items, one says so"
    assert evidence.of("counts_and_words", twice) == evidence.of("counts", twice) + 4 * evidence.of("words", twice)
    recommender.remove("i4")
    again = recommender.rank(Request(user_id="x"), None)
    assert handles["i4"] not in again.handles_B
