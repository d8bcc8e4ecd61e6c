"""The tree of topics."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from trainer.semantic_ids.topic_tree import draw, svg, topic_tree

CODES = np.array([[1, 0, 0], [1, 0, 1], [1, 2, 0], [3, 0, 0]])
TITLES = ["Dark <night> & day [x]", "Night fall", "Night rise", ""]
TAGS = [["horror"], ["horror"], [], ["romance"]]


def test_topics_are_the_largest_prefixes_with_their_words_and_titles() -> None:
    root = topic_tree(CODES, TITLES, TAGS)
    assert [(topic.prefix, topic.items) for topic in root.topics] == [([1], 3), ([3], 1)]
    assert root.topics[0].words[0] == "night"
    assert root.topics[1].examples == []
    assert [topic.prefix for topic in root.topics[0].topics] == [[1, 0], [1, 2]]
    assert len(topic_tree(CODES, TITLES, TAGS, most=1).topics) == 1


def test_it_is_drawn_whatever_the_titles_hold() -> None:
    root = topic_tree(CODES, TITLES, TAGS)
    console = Console(record=True, width=120)
    console.print(draw(root))
    assert "Dark <night> & day [x]" in console.export_text()
    assert ElementTree.fromstring(svg(root)).tag.endswith("svg")


@pytest.mark.parametrize("title", ["ends in a backslash\\", "[/b] closes", "\x1b[2Jclears the screen", "[/dim]"])
def test_titles_and_words_are_text(title: str) -> None:
    root = topic_tree(CODES, [title] * 4, [[title]] * 4)
    console = Console(record=True, width=120)
    console.print(draw(root))
    shown = console.export_text()
    assert title.removeprefix("\x1b") in shown
    assert "\x1b" not in shown


def test_an_empty_catalogue_has_a_tree() -> None:
    root = topic_tree(np.zeros((0, 3), np.int32), [], [])
    assert root.items == 0
    ElementTree.fromstring(svg(root))
