"""Words as behaviour knows them: an item's row depends on its own words alone, and on how rare each is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.items import ItemCard, pack_parts
from trainer.content.exact_sums import on_grid
from trainer.semantic_ids.word_map import BUCKETS, WORDS, WordMap, buckets_of, parts_of, rarity, weighted

KNOWN = 12
Part = dict[str, np.ndarray]


def item(words: set[int]) -> Part:
    return {WORDS: np.array(sorted(words), np.uint16)}


def card(title: str, *tags: str, category: str | None = None) -> ItemCard:
    content = pack_parts({"text": np.ones(4, np.float32)})
    times = {"assigned_at": 0.0, "uploaded_at": 0.0, "published_at_ms": 0}
    more = {"title": title, "tags": list(tags), "category": category, "content": content}
    return ItemCard(item_id="i", codebook="c", codes=[], suffix=0, **times, **more)  # type: ignore[arg-type]


def word_map() -> WordMap:
    random = np.random.default_rng(0)
    rarity_V = on_grid(np.abs(random.standard_normal(BUCKETS)))
    rarity_V[KNOWN:] = 0.0  # no trained item had these
    return WordMap(rarity_V, on_grid(random.standard_normal((BUCKETS, 8))))


MAP = word_map()
items = st.lists(st.sets(st.integers(0, KNOWN - 1), max_size=6).map(item), min_size=1, max_size=6)


@settings(max_examples=50)
@given(parts=items, data=st.data())
def test_a_row_is_the_same_to_the_bit_in_any_company(parts: list[Part], data: st.DataObject) -> None:
    together_NA = MAP(parts)
    order = data.draw(st.permutations(range(len(parts))))
    np.testing.assert_array_equal(MAP([parts[place] for place in order]), together_NA[order])
    np.testing.assert_array_equal(np.concatenate([MAP([part]) for part in parts]), together_NA)


@settings(max_examples=50)
@given(words=st.sets(st.integers(0, KNOWN - 1), max_size=6), unheard=st.sets(st.integers(KNOWN, BUCKETS - 1)))
def test_a_word_that_no_trained_item_had_adds_nothing(words: set[int], unheard: set[int]) -> None:
    np.testing.assert_array_equal(MAP([item(words | unheard)]), MAP([item(words)]))


def test_without_words_there_is_nothing() -> None:
    assert not MAP([{}, item(set()), item({BUCKETS - 1})]).any()
    assert MAP([]).shape == (0, 8)


@settings(max_examples=50)
@given(parts=items)
def test_the_rarer_a_word_the_more_it_weighs_and_a_row_has_length_one(parts: list[Part]) -> None:
    rarity_V = rarity(parts)
    count_V = np.bincount(np.concatenate([part[WORDS] for part in parts]), minlength=BUCKETS)
    had = np.flatnonzero(count_V)
    assert (rarity_V[had] > 0).all()
    assert not rarity_V[count_V == 0].any()
    order = had[np.argsort(count_V[had], kind="stable")]
    assert (np.diff(rarity_V[order]) <= 0).all()
    weight_NV = weighted(parts, rarity_V).toarray()
    for part, row_V in zip(parts, weight_NV, strict=True):
        assert set(np.flatnonzero(row_V)) == set(part[WORDS].tolist())
        assert np.linalg.norm(row_V) == pytest.approx(1.0 if len(part[WORDS]) else 0.0, abs=1e-3)


def test_a_card_has_each_of_its_words_once_from_wherever_they_come() -> None:
    plain = buckets_of(card("The quiet forest"))
    assert plain.tolist() == sorted(set(plain.tolist()))
    assert len(plain) == 3
    np.testing.assert_array_equal(buckets_of(card("forests, THE forest", "quiet")), plain)
    np.testing.assert_array_equal(buckets_of(card("the", "quiet", category="forest")), plain)
    assert plain.max() < BUCKETS
    assert len(buckets_of(card(""))) == 0


def test_a_codebook_looks_at_vectors_and_words() -> None:
    parts = parts_of(card("forest"))
    assert set(parts) == {"text", WORDS}
    np.testing.assert_array_equal(parts["text"], np.ones(4))
