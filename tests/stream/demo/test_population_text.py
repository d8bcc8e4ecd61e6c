"""Texts of the simulated population: a seed decides all of them, and they talk about their topic."""

from __future__ import annotations

from random import Random

import pytest

from stream.demo.population_text import THEMES, Theme, creator_name, description_of, title_of


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_titles_and_descriptions_are_of_their_topic(theme: Theme) -> None:
    for seed in range(40):
        title, thing = title_of(Random(seed), theme)
        assert (title, thing) == title_of(Random(seed), theme)
        assert thing in theme.things
        assert not set("{}") & set(title)
        assert title[0] == title[0].upper()
        text = description_of(Random(seed), theme, thing, "Ada Alder")
        assert sum(word in text for word in theme.words) >= 3
        assert theme.name in text


def test_topics_differ_and_names_are_two_words() -> None:
    assert len({theme.name for theme in THEMES}) == len(THEMES)
    assert len(creator_name(Random(1)).split()) == 2
