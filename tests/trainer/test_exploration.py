"""Exploration: bounded, wide beliefs first, and narrowed by what was shown in vain."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from store.requests import Request
from tests.trainer.test_recommender import card
from trainer.catalog import Catalog
from trainer.exploration import Exploration


def chosen(known: list[float], shown: list[float], p: list[float], moments: int = 2000) -> np.ndarray:
    """How often each candidate is chosen."""
    exploration = Exploration(1.0, 5, seed=0)
    picks = [
        exploration.choose(Request(user_id=f"u{n}"), 0.0, np.array(known), np.array(shown), np.array(p))
        for n in range(moments)
    ]
    return np.bincount(picks, minlength=len(p)) / moments


def test_it_is_bounded_and_never_in_a_search_or_a_lone_line() -> None:
    exploration = Exploration(0.2, 5, seed=1)
    due = [exploration.due(Request(user_id=f"u{n}"), 7.0, 10) for n in range(5000)]
    assert np.mean(due) == pytest.approx(0.2, abs=0.02)
    assert not any(exploration.due(Request(user_id=f"u{n}", task="search"), 7.0, 10) for n in range(100))
    assert not any(exploration.due(Request(user_id=f"u{n}"), 7.0, 1) for n in range(100))
    assert due == [exploration.due(Request(user_id=f"u{n}"), 7.0, 10) for n in range(5000)]


def test_who_promises_more_is_chosen_more_often_but_nobody_never() -> None:
    shares = chosen([0, 0, 0], [0, 0, 0], [0.05, 0.02, 0.02])
    assert shares[0] > 1.5 * shares[1] > 0.2
    assert shares[1] == pytest.approx(shares[2], abs=0.05)


def test_what_was_shown_in_vain_gives_way_and_a_click_brings_it_back() -> None:
    fresh, vain, clicked = chosen([0, 0, 2], [0, 200, 40], [0.05, 0.05, 0.05])
    assert vain < 0.3 * fresh
    assert clicked > 2 * vain


def test_coverage_counts_little_known_live_items_that_were_shown() -> None:
    catalog = Catalog()
    handles = np.array([catalog.insert(msgspec.structs.replace(card(0), item_id=f"i{n}")) for n in range(1500)])
    catalog.positives_N[handles[:500]] = 9
    exploration = Exploration(0.5, 5, seed=0)
    exploration.note(handles[490:510], explored=True)
    exploration.note(handles[505:515], explored=False)
    exploration.note(np.zeros(0, np.int64), explored=False)
    found = exploration.coverage(catalog)
    assert (found.little_known, found.covered, found.lines, found.explored) == (1000, 15, 30, 1)
    assert exploration.shown(handles[[504, 507, 1400]]).tolist() == [1, 2, 0]
    catalog.remove("i505")
    assert exploration.coverage(catalog).covered == 14
