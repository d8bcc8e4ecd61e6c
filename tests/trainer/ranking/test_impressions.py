"""Impressions: whatever the order, a line is what was said of it; untouched is negative only when its window closed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.ranking.impressions import (
    COMPLETED,
    NEGATIVE,
    POSITIVE,
    SEEN,
    ImpressionOutcome,
    ImpressionRules,
    Impressions,
    Shown,
)

WINDOW_S = 100.0
RULES = ImpressionRules(window_s=WINDOW_S, completed={"watch": 0.8})
WEIGHTS = {"impression": 0.0, "click": 1.0, "watch": 1.0, "skip": -1.0}


def shown(name: str, at: float = 0.0, user: str = "u", items: tuple[str, ...] = ("a", "b", "c")) -> Shown:
    rows = np.arange(len(items) * 2, dtype="<f2").tobytes()
    return Shown(
        request_id=name, user_id=user, task="home", shown_at=at, item_ids=list(items), columns=2, features=rows
    )


def outcome(
    item: str, at: float, kind: str = "click", name: str | None = None, user: str = "u", value: float | None = None
) -> ImpressionOutcome:
    return ImpressionOutcome(
        user_id=user, item_id=item, kind=kind, occurred_at=at, weight=WEIGHTS[kind], value=value, request_id=name
    )


def told(impressions: Impressions, now_s: float) -> dict[str, list[list[int]]]:
    return {one.request_id: one.told_K4.tolist() for one in impressions.advance(now_s)}


def test_a_line_nobody_touched_is_a_negative_only_when_its_window_closes() -> None:
    impressions = Impressions(RULES)
    impressions.show(shown("r", 50.0))
    impressions.engage(outcome("b", 60.0, name="r"))
    assert impressions.advance(149.0) == []
    closed = impressions.advance(150.0)
    assert [one.request_id for one in closed] == ["r"]
    assert closed[0].told_K4[:, POSITIVE].tolist() == [0, 1, 0]
    assert closed[0].x_KF.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert closed[0].counting().all()
    assert impressions.advance(1e9) == []


def test_a_late_positive_corrects_once() -> None:
    impressions = Impressions(RULES)
    impressions.show(shown("r"))
    impressions.advance(200.0)
    for _ in range(3):
        impressions.engage(outcome("c", 300.0, name="r"))
    assert [one.told_K4[:, POSITIVE].tolist() for one in impressions.advance(300.0)] == [[0, 0, 1]]
    impressions.engage(outcome("c", 310.0, name="r"))
    assert impressions.advance(400.0) == []


def test_without_a_request_the_user_and_the_item_tell_within_the_window() -> None:
    impressions = Impressions(RULES)
    impressions.show(shown("r", 50.0))
    for wrong in (outcome("a", 49.0), outcome("a", 151.0), outcome("a", 60.0, user="other"), outcome("z", 60.0)):
        impressions.engage(wrong)
    impressions.engage(outcome("b", 60.0))
    impressions.engage(outcome("c", 70.0, name="a request of the application's own"))
    assert [line[POSITIVE] for line in told(impressions, 150.0)["r"]] == [0, 1, 1]


def test_completion_and_refusal_are_told_by_kind_and_value() -> None:
    impressions = Impressions(RULES)
    impressions.show(shown("r", items=("a", "b", "c", "d")))
    impressions.engage(outcome("a", 1.0, "watch", value=0.3))
    impressions.engage(outcome("b", 1.0, "watch", value=0.8))
    impressions.engage(outcome("b", 2.0, "watch", value=0.1))
    impressions.engage(outcome("c", 1.0, "skip"))
    lines = np.array(told(impressions, 100.0)["r"])
    assert lines[:, COMPLETED].tolist() == [0, 1, -1, -1]
    assert lines[:, NEGATIVE].tolist() == [0, 0, 1, 0]
    assert lines[:, POSITIVE].tolist() == [1, 1, 0, 0]


def test_where_impression_events_tell_what_was_seen_the_rest_does_not_count() -> None:
    impressions = Impressions(RULES)
    impressions.show(shown("r"))
    impressions.engage(outcome("a", 1.0, "impression", name="r"))
    impressions.engage(outcome("b", 2.0, "click", name="r"))
    (closed,) = impressions.advance(100.0)
    assert closed.told_K4[:, SEEN].tolist() == [1, 0, 0]
    assert closed.counting().tolist() == [True, True, False]


def test_memory_is_bounded_and_windows_stay_whole() -> None:
    impressions = Impressions(ImpressionRules(window_s=WINDOW_S, waiting=10, remembered=5, early=3))
    for n in range(50):
        impressions.engage(outcome("a", 0.0, name=f"unknown-{n}"))
        impressions.show(shown(f"r{n:02}", float(n)))
    assert len(impressions) == 10
    assert impressions.passed_over == 40
    assert sorted(told(impressions, 1e9)) == [f"r{n:02}" for n in range(10)]
    assert len(impressions) == 5


REQUESTS = [("r0", 0.0, "u"), ("r1", 30.0, "u"), ("r2", 60.0, "v")]
SAID = st.builds(
    lambda request, item, kind, value: outcome(item, 500.0, kind, request, value=value),
    st.sampled_from(["r0", "r1", "r2", "never shown"]),
    st.sampled_from("abc"),
    st.sampled_from(sorted(WEIGHTS)),
    st.sampled_from([None, 0.2, 0.9]),
)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Shown | ImpressionOutcome | float]:
    """Records in any order and some twice, and the clock in between."""
    shows = [shown(name, at, user) for name, at, user in REQUESTS]
    outcomes = draw(st.lists(SAID, max_size=12))
    again = draw(st.lists(st.sampled_from([*shows, *outcomes]), max_size=6))
    clock = draw(st.lists(st.floats(0.0, 300.0), max_size=6))
    return draw(st.permutations([*shows, *outcomes, *again, *clock]))


@given(arrivals())
def test_whatever_the_order_each_line_ends_as_what_was_said_of_it(
    steps: list[Shown | ImpressionOutcome | float],
) -> None:
    impressions = Impressions(RULES)
    given_out: dict[str, list[list[list[int]]]] = {}
    now_s = 0.0
    for step in [*steps, 1e9]:
        if isinstance(step, Shown):
            impressions.show(step)
        elif isinstance(step, ImpressionOutcome):
            impressions.engage(step)
        else:
            now_s = max(now_s, step)
        for name, lines in told(impressions, now_s).items():
            assert next(at for one, at, _ in REQUESTS if one == name) + WINDOW_S <= now_s
            before = given_out.setdefault(name, [])
            assert not before or before[-1] != lines  # given out again only when it changed
            before.append(lines)
    outcomes = [step for step in steps if isinstance(step, ImpressionOutcome)]
    for name, _, _ in REQUESTS:
        assert given_out[name][-1] == [expected(outcomes, name, item) for item in "abc"]


def expected(outcomes: list[ImpressionOutcome], name: str, item: str) -> list[int]:
    about = [one for one in outcomes if (one.request_id, one.item_id) == (name, item)]
    rated = [one.value >= 0.8 for one in about if one.kind == "watch" and one.value is not None]
    return [
        int(any(one.kind == "impression" for one in about)),
        int(any(one.weight > 0 for one in about)),
        int(any(rated)) if rated else -1,
        int(any(one.weight < 0 for one in about)),
    ]
