"""Probation: harm is told of a model's own answers, beyond a bound and beyond chance."""

from __future__ import annotations

import numpy as np
import pytest

from stream.serving.watching.probation import LEAST, LEAST_TIMED, Probation, ProbationReport
from trainer.own_answers import OwnAnswer

MOST_MS = 100.0


def watched(
    count: int, *, hits: float, before: float, expected: float | None = None, written: tuple[float, float] | None = None
) -> Probation:
    """A probation that saw engagements, of which these shares were hit."""
    random, probation = np.random.default_rng(0), Probation(0.7, MOST_MS)
    for _ in range(count):
        drawn = random.random(4)
        by = (None, None) if written is None else (bool(drawn[2] < written[0]), bool(drawn[3] < written[1]))
        new = OwnAnswer(bool(drawn[0] < hits), hits if expected is None else expected, by[0])
        probation.add(new, OwnAnswer(bool(drawn[1] < before), before, by[1]))
    return probation


@pytest.mark.parametrize(
    ("probation", "harm"),
    [
        (watched(400, hits=0.2, before=0.2), ""),
        (watched(400, hits=0.3, before=0.1), ""),
        (watched(400, hits=0.05, before=0.3), "the first ten of its own proposals hit 0.0"),
        (watched(2000, hits=0.25, before=0.3), ""),  # surely less, and within the bound
        (watched(LEAST - 1, hits=0.0, before=1.0), ""),  # not yet known
        (watched(60, hits=0.05, before=0.1), ""),  # chance explains it
        (watched(400, hits=0.2, before=0.2, written=(0.0, 0.2)), "the first ten of what it writes hit 0.000"),
        (watched(400, hits=0.2, before=0.2, expected=0.9), "it says that its first ten hold 0.900"),
        (watched(400, hits=0.5, before=0.5, expected=0.1), "it says that its first ten hold 0.100"),
        (watched(400, hits=0.2, before=0.2, expected=0.24), ""),  # within the bound
    ],
)
def test_harm(probation: Probation, harm: str) -> None:
    said = probation.harm()
    assert (said.reason if said else "").startswith(harm)
    assert (said is None) == (harm == "")


def test_harm_has_a_cause_that_can_be_counted() -> None:
    harmed = [
        watched(400, hits=0.05, before=0.3),
        watched(400, hits=0.2, before=0.2, written=(0.0, 0.2)),
        watched(400, hits=0.2, before=0.2, expected=0.9),
    ]
    assert [harm.cause for one in harmed if (harm := one.harm())] == ["hits", "writing", "calibration"]


def timed(new_ms: float, before_ms: float, pairs: int = LEAST_TIMED) -> Probation:
    """A probation whose models took so long, but for one answer in four, when the machine stood still."""
    probation = Probation(0.7, MOST_MS)
    for number in range(pairs):
        late_ms = 5_000.0 if number % 4 == 0 else 0.0
        probation.add(OwnAnswer(True, 0.9, took_ms=new_ms + late_ms), OwnAnswer(True, 0.9, took_ms=before_ms))
    return probation


@pytest.mark.parametrize(
    ("probation", "is_slow"),
    [
        (timed(400.0, 20.0), True),
        (timed(400.0, 20.0, LEAST_TIMED - 1), False),  # not yet known
        (timed(90.0, 2.0), False),  # within what is allowed
        (timed(400.0, 250.0), False),  # the machine is slow
        (timed(400.0, 0.0), False),  # popularity takes no time, and tells nothing of the machine
    ],
)
def test_a_model_that_keeps_people_waiting_longer_than_the_one_before_does_harm(
    probation: Probation, is_slow: bool
) -> None:
    harm = probation.harm()
    assert (harm is not None) == is_slow
    if harm is not None:
        assert (harm.cause, harm.reason) == (
            "cost",
            "an answer takes 400 ms, of the one before 20 ms, each asked in turn",
        )


def test_a_model_that_is_as_badly_calibrated_as_the_one_before_does_no_harm_by_it() -> None:
    probation = Probation(0.7, MOST_MS)
    for number in range(300):
        probation.add(OwnAnswer(number % 5 == 0, 0.8), OwnAnswer(number % 5 == 1, 0.85))
    assert probation.harm() is None


def test_the_same_answers_never_look_worse_by_chance() -> None:
    """Looked at again and again: equal models, twenty times."""
    random = np.random.default_rng(1)
    for _ in range(20):
        probation = Probation(0.7, MOST_MS)
        for number in range(300):
            a, b = random.random(2) < 0.15
            probation.add(OwnAnswer(bool(a), 0.15), OwnAnswer(bool(b), 0.15))
            if number % 25 == 0:
                assert probation.harm() is None


def test_what_was_seen_is_reported() -> None:
    assert Probation(0.7, MOST_MS).report() == ProbationReport(0, 0.0, 0.0, 0.0, 0.0)
    probation = Probation(0.7, MOST_MS)
    probation.add(OwnAnswer(True, 0.5), OwnAnswer(False, 0.25))
    assert probation.report() == ProbationReport(1, 1.0, 0.0, 0.5, 0.25)
