"""What a checkpoint costs and whether it fails: told only beyond a bound, and only where enough was asked."""

from __future__ import annotations

import pytest

from store.settings import Settings
from stream.metrics.metrics import WATCH_CAUSES
from stream.serving.watching.harm import CAUSES, LEAST_ASKED, LEAST_COSTS, harm_by_cost, harm_by_failures
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.codebook import zero_codebook


def bundle(costs_ms: float = 0.0, answers: int = 0, failures: int = 0) -> ModelBundle:
    made = ModelBundle(zero_codebook(Settings()))
    made.asked, made.failures = answers, failures
    made._costs_s.extend([costs_ms / 1000.0] * answers)
    return made


@pytest.mark.parametrize(
    ("serving", "previous", "does_harm"),
    [
        (bundle(150.0, LEAST_COSTS), bundle(10.0, LEAST_COSTS), True),
        (bundle(150.0, LEAST_COSTS), bundle(), True),  # nothing is known of the one before, or there is none
        (bundle(150.0, LEAST_COSTS - 1), bundle(10.0, LEAST_COSTS), False),  # not yet known
        (bundle(90.0, LEAST_COSTS), bundle(10.0, LEAST_COSTS), False),  # within what the gate allows
        (bundle(150.0, LEAST_COSTS), bundle(140.0, LEAST_COSTS), False),  # the one before is as slow
        (bundle(150.0, LEAST_COSTS), bundle(140.0, LEAST_COSTS - 1), True),
    ],
)
def test_a_model_that_costs_too_much_does_harm(serving: ModelBundle, previous: ModelBundle, does_harm: bool) -> None:
    harm = harm_by_cost(serving, previous, 100.0)
    assert (harm is not None) == does_harm
    if harm is not None:
        assert harm.cause == "cost"
        assert harm.reason.startswith("an answer takes 150 ms of a processor, more than 100")


def test_one_slow_answer_is_no_slow_model() -> None:
    serving = bundle(5.0, LEAST_COSTS)
    serving._costs_s.extend([9.0] * 10)
    assert harm_by_cost(serving, bundle(), 100.0) is None


def test_a_model_that_fails_does_harm() -> None:
    assert harm_by_failures(bundle(0.0, LEAST_ASKED - 1, failures=LEAST_ASKED - 1)) is None
    assert harm_by_failures(bundle(0.0, 100, failures=5)) is None
    harm = harm_by_failures(bundle(0.0, 100, failures=6))
    assert harm is not None
    assert (harm.cause, harm.reason) == ("failures", "the model failed 6 of 100 requests")


def test_every_cause_is_counted() -> None:
    assert CAUSES == WATCH_CAUSES


def test_what_was_asked_to_warm_a_model_tells_nothing_of_its_cost() -> None:
    warmed = bundle(500.0, LEAST_COSTS)
    warmed.forget_warming()
    assert (warmed.asked, warmed.cost_ms(0)) == (0, None)
