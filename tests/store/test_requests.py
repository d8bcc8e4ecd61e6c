"""Requests: the time that one has, and what is left of it."""

from __future__ import annotations

import math
import time

from store.requests import Request


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
