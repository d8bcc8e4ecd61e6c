"""The learner: what is kept, when a fit is due, and that a fit is a function of what came and of the seed."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import example as with_example
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.ranking.test_ranker import example, impression
from trainer.ranking.columns import COLUMNS, NAMES
from trainer.ranking.learner import RankerLearner, RankerRules

RULES = RankerRules(first=20, growth=0.5, refit_every=15, min_rows=5, trees=10)
RNG = np.random.default_rng(0)
LIKED, REFUSED, SHOWN = example(RNG, 1), example(RNG, 2, -1.0), [impression(RNG, number) for number in range(200)]


@given(acts=st.lists(st.tuples(st.sampled_from(["like", "refuse", "fit"]), st.integers(1, 45)), max_size=8))
@with_example(acts=[("like", 20), ("fit", 1), ("like", 40), ("fit", 1), ("like", 15)])
def test_a_fit_is_due_when_enough_positives_came_since_the_last(acts: list[tuple[str, int]]) -> None:
    learner, since, before = RankerLearner(RULES), 0, 0
    for act in [act for act, times in acts for _ in range(times)]:
        if act == "fit":
            learner.snapshot()
            before, since = before + since, 0
        else:
            learner.absorb(LIKED if act == "like" else REFUSED)
            since += act == "like"
        needed = RULES.first if not before else min(before * RULES.growth, RULES.refit_every)
        assert learner.due() is (since >= needed)


def test_impressions_call_for_a_fit_of_their_own() -> None:
    learner = RankerLearner(RULES)
    for _ in range(RULES.first):
        learner.absorb(LIKED)
    learner.snapshot()
    for one in SHOWN[: RULES.first - 1]:
        learner.absorb_impression(one)
    assert not learner.due()
    learner.absorb_impression(SHOWN[-1])
    assert learner.due()


def test_the_newest_are_kept_and_all_are_counted() -> None:
    learner = RankerLearner(replace(RULES, kept=5))
    rng = np.random.default_rng(1)
    made = [example(rng, number) for number in range(9)]
    for one in made:
        learner.absorb(one)
    assert learner.absorbed == 9
    kept = [group.candidates_BF for group in learner.examples]
    np.testing.assert_array_equal(kept, [one.rows() for one in made[-5:]])


def test_a_snapshot_does_not_see_what_comes_after_it() -> None:
    learner = RankerLearner(RULES)
    for number in range(30):
        learner.absorb(example(np.random.default_rng(number), number))
    snapshot, same = learner.snapshot(), learner.snapshot()
    learner.absorb(LIKED)
    learner.absorb_impression(SHOWN[0])
    assert snapshot.fit().to_bytes() == same.fit().to_bytes()
    assert snapshot.fit().name == "30"
    assert learner.refit().name == "31"


def test_another_version_s_rows_and_items_that_were_no_candidates_teach_no_order() -> None:
    learner = RankerLearner(RULES)
    learner.absorb(msgspec.structs.replace(LIKED, columns=7))
    learner.absorb(msgspec.structs.replace(LIKED, rank=-1))
    assert (learner.absorbed, len(learner.feedback.acts)) == (0, 0)


@pytest.mark.parametrize("blanked", [False, True])
def test_a_blanked_column_is_not_learned_from(blanked: bool) -> None:
    """People go for `follows` alone, so a ranker that may not look at it knows nothing of it."""
    column = COLUMNS["follows"]
    learner = RankerLearner(replace(RULES, blank=(column,) if blanked else ()))
    for number in range(150):
        learner.absorb(example(np.random.default_rng(number), number))
    x_BF = np.zeros((2, len(NAMES)), np.float32)
    x_BF[1, column] = 3.0
    low, high = learner.refit().score(x_BF)
    assert (high == low) if blanked else (high > low)
