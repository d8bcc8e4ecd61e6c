"""Words of prefixes."""

from __future__ import annotations

import doctest

import numpy as np
from hypothesis import given, strategies

import trainer.semantic_ids.prefix_words
from trainer.semantic_ids.prefix_words import WordCounts, sample_of, words_of


def test_examples_hold() -> None:
    assert doctest.testmod(trainer.semantic_ids.prefix_words).failed == 0


def test_items_are_named_by_what_is_common_among_them_and_rare_elsewhere() -> None:
    horror = [words_of(f"The horror of night {item}", ["horror"]) for item in range(10)]
    garden = [words_of(f"The garden of roses {item}", ["romance"]) for item in range(10)]
    everywhere = WordCounts([*horror, *garden])
    assert WordCounts(horror).telling(everywhere, 2) == ["horror", "night"]
    assert "the" not in WordCounts(garden).telling(everywhere, 3)
    assert WordCounts([]).telling(everywhere) == []


def test_a_word_that_the_sample_of_all_has_missed_is_rare() -> None:
    common = [("the", "and")] * 20
    assert WordCounts([("the", "zombie")] * 3).telling(WordCounts(common), 1) == ["zombie"]


@given(strategies.sets(strategies.integers(0, 10_000)), strategies.integers(1, 50))
def test_a_sample_is_some_of_them_each_once_and_the_same_every_time(handles: set[int], most: int) -> None:
    given_N = np.array([*handles], np.int64)
    sample = sample_of(given_N, most).tolist()
    assert len(sample) == len({*sample}) == min(most, len(handles))
    assert {*sample} <= handles
    assert sample_of(given_N[::-1], most).tolist() == sample


def test_words_of_any_script() -> None:
    assert words_of("東京 物語 é x", ["Drama "]) == ("drama", "東京", "物語", "é")
