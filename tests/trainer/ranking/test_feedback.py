"""Feedback: what was said is kept by the newest, a correction takes the place of the former, a copy stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.ranking.columns import NAMES
from trainer.ranking.feedback import LEAST_SHOWN, Feedback, HeldOut
from trainer.ranking.impressions import COMPLETED, POSITIVE, UNTOLD, Impression

COMPLETE = {"watch": 0.8}


@dataclass(frozen=True)
class Engaged:
    kind: str = "watch"
    occurred_at: float = 1.0
    weight: float = 1.0
    value: float | None = None


def impression(number: int, told: list[dict[int, int]], columns: int = len(NAMES), at: float = 0.0) -> Impression:
    told_K4 = np.tile(UNTOLD, (len(told), 1))
    for place, line in enumerate(told):
        for column, value in line.items():
            told_K4[place, column] = value
    return Impression(f"r{number}", "home", at, np.full((len(told), columns), number, np.float16), told_K4)


def raw(x_BF: np.ndarray) -> np.ndarray:
    return x_BF[:, 0].astype(float)


@given(numbers=st.lists(st.integers(0, 6), max_size=20), most=st.integers(1, 5))
def test_the_newest_requests_are_kept_each_once_as_it_was_last_told(numbers: list[int], most: int) -> None:
    feedback = Feedback(10, most, {})
    kept: dict[str, int] = {}
    closed = 0
    for at, number in enumerate(numbers):
        closed += f"r{number}" not in kept
        kept[f"r{number}"] = at
        feedback.shown(impression(number, [{}], at=float(at)))
        for name in list(kept)[:-most]:
            del kept[name]
    assert {name: one.shown_at for name, one in feedback.impressions.items()} == kept
    assert feedback.closed == closed, "a correction closes nothing"


def test_an_engagement_says_whether_it_was_refused_and_whether_it_completed() -> None:
    feedback = Feedback(4, 1, COMPLETE)
    said = [
        Engaged(value=0.1),
        Engaged(value=0.8),
        Engaged(),
        Engaged(kind="click", value=0.9),
        Engaged(weight=-1.0, value=None),
    ]
    for one in said:
        feedback.engaged(one, np.zeros(len(NAMES), np.float16))
    assert [(act.completed, act.negative) for act in feedback.acts] == [
        (1, False),
        (-1, False),
        (-1, False),
        (-1, True),
    ], "the oldest has gone"


def test_lines_come_in_order_of_time_and_only_those_that_count() -> None:
    feedback = Feedback(1, 9, {})
    feedback.shown(impression(2, [{POSITIVE: 1}, {}], at=5.0))
    feedback.shown(impression(1, [{0: 1}, {}], at=3.0))  # an `impression` event saw the first only
    x_RF, told_R4 = feedback.lines()
    assert x_RF[:, 0].tolist() == [1.0, 2.0, 2.0]
    assert told_R4[:, POSITIVE].tolist() == [0, 1, 0]
    assert Feedback(1, 1, {}).lines()[0].shape == (0, len(NAMES))


def test_rows_of_another_version_are_passed_over() -> None:
    feedback = Feedback(1, 9, {})
    feedback.shown(impression(1, [{}], columns=len(NAMES) - 1))
    assert (feedback.closed, len(feedback.impressions)) == (0, 0)


def test_a_copy_stays_as_it_is() -> None:
    feedback = Feedback(5, 5, COMPLETE)
    feedback.engaged(Engaged(value=0.9), np.zeros(len(NAMES), np.float16))
    feedback.shown(impression(1, [{}]))
    copied = feedback.copied()
    feedback.engaged(Engaged(), np.zeros(len(NAMES), np.float16))
    feedback.shown(replace(impression(1, [{}]), shown_at=9.0))
    feedback.shown(impression(2, [{}]))
    assert (len(copied.acts), copied.closed, copied.impressions["r1"].shown_at) == (1, 1, 0.0)
    copied.engaged(Engaged(value=0.9), np.zeros(len(NAMES), np.float16))
    assert copied.acts[-1].completed == 1, "and knows what completes"


def filled(clicks: int) -> Feedback:
    feedback = Feedback(1000, 1000, COMPLETE)
    random = np.random.default_rng(0)
    for number in range(300):
        clicked = (number + 1) * clicks // 300 - number * clicks // 300  # spread over time
        told = {POSITIVE: 1, COMPLETED: number // 3 % 2} if clicked else {}
        one = impression(number, [told], at=float(number))
        feedback.shown(replace(one, x_KF=random.standard_normal(one.x_KF.shape).astype(np.float16)))
    return feedback


def test_the_click_head_speaks_of_what_is_shown_from_enough_clicks_on() -> None:
    x_RF = np.random.default_rng(1).standard_normal((200, len(NAMES))).astype(np.float32)
    held_out = HeldOut(x_RF, (x_RF[:, 0] > 0).astype(float), np.ones(200))
    before = filled(LEAST_SHOWN - 1).fit(raw, held_out, 0, 1)
    after = filled(2 * LEAST_SHOWN).fit(raw, held_out, 0, 1)
    assert before is not None
    assert after is not None
    assert (before.shown, after.shown) == (False, True)
    assert filled(LEAST_SHOWN - 1).fit(raw, None, 0, 1) is None


def test_what_shown_lines_completed_is_learned_from_without_an_act_of_its_own() -> None:
    heads = filled(100).fit(raw, None, 0, 1)
    assert heads is not None
    assert heads.completion is not None
    assert heads.negative is None, "nobody refused anything"
    assert 0.3 < heads.completion.measured.observed < 0.7
