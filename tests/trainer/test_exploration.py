"""Exploration: bounded, wide beliefs first, and narrowed by what was shown in vain."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from store.requests import Request
from tests.small_world import card
from trainer.exploration import Exploration
from trainer.items.catalog import Catalog

ASKED = Request(user_id="u")


def chosen(shown: list[int], hits: list[int], p: list[float], moments: int = 2000) -> np.ndarray:
    """How often each candidate is chosen."""
    exploration = Exploration(1.0, 5, seed=0)
    handles = np.arange(len(p))
    for handle in handles.tolist():
        for _ in range(shown[handle]):
            exploration.note(handles[[handle]], explored=True)
        for _ in range(hits[handle]):
            exploration.hit(handle)
    picks = [exploration.choose(ASKED, float(n), handles, np.array(p)) for n in range(moments)]
    return np.bincount(picks, minlength=len(p)) / moments


def test_it_is_bounded_and_never_in_a_search_or_a_lone_line() -> None:
    exploration = Exploration(0.2, 5, seed=1)
    due = [exploration.due(Request(user_id=f"u{n}"), 7.0, 10) for n in range(5000)]
    assert np.mean(due) == pytest.approx(0.2, abs=0.02)
    assert not any(exploration.due(Request(user_id=f"u{n}", task="search"), 7.0, 10) for n in range(100))
    assert not any(exploration.due(Request(user_id=f"u{n}"), 7.0, 1) for n in range(100))
    assert due == [exploration.due(Request(user_id=f"u{n}"), 7.0, 10) for n in range(5000)]


def test_a_clock_that_stands_still_does_not_repeat_its_choice() -> None:
    exploration = Exploration(0.5, 5, seed=1)
    due = []
    for _ in range(200):
        due.append(exploration.due(ASKED, 7.0, 10))
        exploration.note(np.arange(10), explored=due[-1])
    assert 60 < sum(due) < 140


def test_who_promises_more_is_chosen_more_often_but_nobody_never() -> None:
    shares = chosen([0, 0, 0], [0, 0, 0], [0.05, 0.02, 0.02])
    assert shares[0] > 1.5 * shares[1] > 0.2
    assert shares[1] == pytest.approx(shares[2], abs=0.05)


def test_what_was_shown_in_vain_gives_way_and_clicks_bring_it_back() -> None:
    fresh, vain, clicked = chosen([0, 200, 40], [0, 0, 4], [0.05, 0.05, 0.05])
    assert vain < 0.3 * fresh
    assert clicked > 2 * vain


def test_every_other_time_it_is_for_new_ones_that_nobody_has_touched() -> None:
    exploration = Exploration(1.0, 5, seed=0)
    known = np.array([9.0, 4.0, 0.0, 1.0, 0.0, 0.0])
    newest = np.array([True, True, True, True, True, False])
    pools = [tuple(exploration.pool(ASKED, float(n), known, newest).tolist()) for n in range(400)]
    assert set(pools) == {(2, 4), (1, 2, 3, 4, 5)}
    assert np.mean([pool == (2, 4) for pool in pools]) == pytest.approx(0.5, abs=0.1)
    assert exploration.pool(ASKED, 0.0, known[:2], newest[:2]).tolist() == [1]
    assert exploration.pool(ASKED, 0.0, known[:1], newest[:1]).tolist() == []


def test_coverage_counts_live_items_with_few_engagements_that_were_shown() -> None:
    catalog = Catalog()
    handles = np.array([catalog.insert(msgspec.structs.replace(card(0), item_id=f"i{n}")) for n in range(1500)])
    catalog.positives_N[handles[:500]] = 9
    exploration = Exploration(0.5, 5, seed=0)
    exploration.note(handles[490:510], explored=True)
    exploration.note(handles[505:515], explored=False)
    exploration.note(np.zeros(0, np.int64), explored=False)
    found = exploration.coverage(catalog)
    assert (found.explorable, found.covered, found.lines, found.explored) == (1000, 15, 30, 1)
    assert exploration.shown(handles[[504, 507, 1400]]).tolist() == [1, 2, 0]
    catalog.remove("i505")
    assert exploration.coverage(catalog).covered == 14
