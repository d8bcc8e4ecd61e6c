"""When a run starts by itself."""

from __future__ import annotations

import pytest

from store.settings import Training
from trainer.runs.causes.triggers import LEAST_SECONDS, TriggerState, allowance, seconds_allowed, trigger

RULES = Training(every_s=100.0, every_engagements=1000, first_engagements=500, min_engagements=50)


@pytest.mark.parametrize(
    ("moment", "cause"),
    [
        (TriggerState(first=True, new=49, since_s=1e9, drifted=True), None),
        (TriggerState(first=True, new=499, since_s=1.0), None),
        (TriggerState(first=True, new=500, since_s=1.0), "first"),
        (TriggerState(first=False, new=500, since_s=1.0), None),
        (TriggerState(first=False, new=1000, since_s=1.0), "engagements"),
        (TriggerState(first=False, new=50, since_s=100.0), "time"),
        (TriggerState(first=False, new=50, since_s=1.0, drifted=True), "drift"),
        (TriggerState(first=False, new=0, since_s=25.0, codebook_drifted=True), "codebook"),
        (TriggerState(first=False, new=0, since_s=24.0, codebook_drifted=True), None),
        (TriggerState(first=True, new=0, since_s=1e9, codebook_drifted=True), None),
    ],
)
def test_whichever_comes_first(moment: TriggerState, cause: str | None) -> None:
    assert trigger(moment, RULES) == cause


def test_a_run_learns_for_a_share_of_the_time_between_runs() -> None:
    rules = Training(every_s=10_000.0, run_share=0.2, max_seconds=1_500.0)
    assert seconds_allowed(5_000.0, rules) == 1_000.0
    assert seconds_allowed(1e9, rules) == 1_500.0, "never longer than max_seconds, however long ago the last one was"
    assert seconds_allowed(float("inf"), Training(every_s=100.0, max_seconds=1e6)) == LEAST_SECONDS
    assert seconds_allowed(1.0, rules) == LEAST_SECONDS, "a person who asks again gets a run worth its name"
    assert seconds_allowed(1.0, Training(max_seconds=5.0)) == 5.0


@pytest.mark.parametrize(
    ("since_s", "told"),
    [
        (5_000.0, "it learns for at most 1000 s: 20% of 5000 s between two runs"),
        (float("inf"), "it learns for at most 2000 s: 20% of 10000 s between two runs"),
        (1.0, "it learns for at most 60 s: what every run may"),
    ],
)
def test_how_long_a_run_may_is_told_with_the_reason(since_s: float, told: str) -> None:
    assert allowance(since_s, Training(every_s=10_000.0, run_share=0.2)) == told


def test_a_bound_is_told_as_the_reason() -> None:
    assert allowance(1e9, Training(max_seconds=90.0)) == "it learns for at most 90 s: training.max_seconds"
