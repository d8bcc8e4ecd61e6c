"""One vocabulary: blocks that do not overlap, any text, stable across save and load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.events import KINDS
from tests.trainer.worlds import WIDTHS, vocabulary
from trainer.model.vocabulary import GAPS, TASKS, VALUES, Vocabulary, gap_bucket, ordered, value_buckets


def test_blocks_follow_each_other_and_end_at_the_size() -> None:
    v = vocabulary()
    begins = [v.task_begin, v.kind_begin, v.gap_begin, v.value_begin, v.attribute_begin, v.text_begin, *v.level_begins]
    assert begins == sorted(begins)
    assert v.kind_begin - v.task_begin == len(TASKS)
    assert v.gap_begin - v.kind_begin == len(KINDS)
    assert v.size == v.level_begins[-1] + WIDTHS[-1]
    assert v.semantic([3, 7, 3])[-1] == v.size - 1


@given(st.text(max_size=200))
def test_any_text_has_tokens_of_the_text_block_and_comes_back(text: str) -> None:
    v = vocabulary()
    tokens = v.text(text, 10_000)
    assert all(v.text_begin <= token < v.semantic_begin for token in tokens)
    whole = text.lower().encode("utf-8", "replace").decode()
    assert v.words(tokens).lstrip() == whole.lstrip()


def test_text_is_cut_at_the_limit() -> None:
    assert len(vocabulary().text("boats " * 10_000, 12)) == 12
    assert vocabulary().text("", 12) == []


def test_a_saved_vocabulary_is_the_same(tmp_path: Path) -> None:
    v = vocabulary()
    v.save(tmp_path)
    again = Vocabulary.load(tmp_path)
    assert again.size == v.size
    assert again.text("Dogs and cats", 9) == v.text("dogs AND cats", 9)


def test_another_codebook_changes_only_the_tail() -> None:
    v = vocabulary()
    wider = v.with_widths((4, 16, 16))
    assert wider.semantic_begin == v.semantic_begin
    assert wider.text("cats", 9) == v.text("cats", 9)
    assert wider.size == v.size + 20


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_gap_buckets_are_ordered_and_bounded(a: float, b: float) -> None:
    assert 0 <= gap_bucket(a) < GAPS
    assert gap_bucket(min(a, b)) <= gap_bucket(max(a, b))


@given(st.one_of(st.none(), st.floats()))
def test_value_buckets_are_bounded(value: float | None) -> None:
    bucket = int(value_buckets(np.array([np.nan if value is None else value]))[0])
    assert 0 <= bucket < VALUES
    assert (bucket == 0) == (value is None or not np.isfinite(value))


def test_sizes_that_are_near_share_tokens_and_words_do_not() -> None:
    v = vocabulary()
    at = {age: set(v.attribute_tokens("age", age)) for age in ("18-24", "25-34", "35-44", "65+")}
    assert at["25-34"] & at["35-44"]
    assert not at["18-24"] & at["65+"]
    assert ordered("25-34") == 25.0
    assert ordered("NO") is None
    assert set(v.attribute_tokens("visits", 40)) & set(v.attribute_tokens("visits", 44))
    assert len(v.attribute_tokens("country", "NO")) == 1
