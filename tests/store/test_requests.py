"""Requests: the time that one has, and what is left of it; and pages."""

from __future__ import annotations

import math
import time

from store.keys import hash64
from store.requests import MOST_PAGED, Request, page_after, shown_before


def test_a_request_without_a_limit_is_never_late() -> None:
    request = Request(user_id="u")
    assert math.isinf(request.due_s())
    assert request.left(request.due_s()) is request


def test_what_is_left_grows_less_and_never_nothing() -> None:
    request = Request(user_id="u", k=3, within_ms=500)
    due_s = request.due_s()
    assert 0.4 < due_s - time.monotonic() <= 0.5
    half = request.left(due_s - 0.25)
    assert half.k == 3
    assert half.within_ms is not None
    assert 150 < half.within_ms <= 250
    assert request.left(due_s - 5).within_ms == 1


def test_a_page_knows_what_all_pages_before_it_showed() -> None:
    shown = [["a", "ä b", "\N{SNOWMAN}"], [str(number) for number in range(100)], ["last"]]
    page: str | None = ""
    for item_ids in shown:
        assert page is not None
        page = page_after(page, item_ids)
    assert page is not None
    assert shown_before(page) == [hash64(item_id) for item_ids in shown for item_id in item_ids]


def test_pages_end_after_so_many_lines() -> None:
    assert page_after("", map(str, range(MOST_PAGED - 1))) is not None
    assert page_after("", map(str, range(MOST_PAGED))) is None
