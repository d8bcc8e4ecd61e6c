"""Who answers is known for as long as it says so."""

from __future__ import annotations

from stream.serving.others import answerers
from stream.serving.others.answerers import MOST, SILENT_S, Answerers


def test_one_that_is_silent_is_not_named_and_there_is_a_bound() -> None:
    now = [0.0]
    known = Answerers(clock=lambda: now[0])
    known.heard("http://a")
    now[0] = SILENT_S - 1.0
    known.heard("http://b")
    assert known.urls() == ["http://a", "http://b"]
    now[0] = SILENT_S
    assert known.urls() == ["http://b"]
    for number in range(2 * MOST):
        known.heard(f"http://{number}")
    assert len(known.urls()) == answerers.MOST
