"""Words of prefixes."""

from __future__ import annotations

import doctest

from hypothesis import given, strategies

import trainer.semantic_ids.prefix_words
from trainer.semantic_ids.prefix_words import PrefixWords, words_of


def test_examples_hold() -> None:
    assert doctest.testmod(trainer.semantic_ids.prefix_words).failed == 0


def test_a_prefix_is_named_by_what_is_common_below_it_and_rare_elsewhere() -> None:
    words = PrefixWords()
    for item in range(10):
        words.add(item, (1, item % 3, 0), f"The horror of night {item}", ["horror"])
        words.add(100 + item, (2, item % 3, 0), f"The garden of roses {item}", ["romance"])
    assert words.of((1,), 2) == ["horror", "night"]
    assert "the" not in words.of((2,), 3)
    assert words.of((1, 2), 1) == ["horror"]
    assert words.of((7,)) == []


def test_a_moved_item_takes_its_words_along() -> None:
    words = PrefixWords()
    words.add(1, (1, 1), "zombie")
    words.add(1, (2, 2), "zombie")
    assert words.of((1,)) == []
    assert words.of((2,)) == ["zombie"]


@given(
    strategies.lists(
        strategies.tuples(
            strategies.integers(0, 5),
            strategies.tuples(strategies.integers(0, 2), strategies.integers(0, 2), strategies.integers(0, 2)),
            strategies.text(max_size=20),
        )
    )
)
def test_added_and_removed_leaves_no_trace(rows: list[tuple[int, tuple[int, ...], str]]) -> None:
    words, untouched = PrefixWords(), PrefixWords()
    for other in (words, untouched):
        other.add(99, (0, 1, 2), "kept title", ["kept"])
    for item, codes, title in rows:
        words.add(item, codes, title)
    for item in range(7):
        words.remove(item)
    prefixes = [(), *((a,) for a in range(3)), *((a, b) for a in range(3) for b in range(3))]
    assert [words.of(prefix) for prefix in prefixes] == [untouched.of(prefix) for prefix in prefixes]


def test_words_of_any_script() -> None:
    assert words_of("東京 物語 é x", ["Drama "]) == ("drama", "東京", "物語", "é")
