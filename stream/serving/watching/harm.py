"""Harm: why a checkpoint must not go on serving, by a cause that can be counted and a sentence for people.

What a model proposes is judged by `stream.serving.watching.probation`; here is what it costs, and whether it fails.

Invariant: harm is told of a checkpoint only where it has been asked often enough to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from trainer.model_bundle import ModelBundle

Cause = Literal["hits", "writing", "calibration", "cost", "failures"]
CAUSES: tuple[Cause, ...] = get_args(Cause)

LEAST_ASKED = 20
MOST_FAILURES = 0.05
LEAST_COSTS = 20
"""Answers of which the cost must be known."""
DEARER = 1.25
"""Where the one before costs as much, it is the machine or the catalogue: going back would bring nothing."""


@dataclass(frozen=True, slots=True)
class Harm:
    """Why the watch goes back."""

    cause: Cause
    reason: str


def harm_by_failures(serving: ModelBundle) -> Harm | None:
    """A model that fails in more than one request of twenty."""
    if serving.asked < LEAST_ASKED or serving.failures <= MOST_FAILURES * serving.asked:
        return None
    return Harm("failures", f"the model failed {serving.failures} of {serving.asked} requests")


def harm_by_cost(serving: ModelBundle, previous: ModelBundle, most_ms: float) -> Harm | None:
    """A model whose answers cost a processor more than the gate allows, and more than those of the one before. Time of
    the processor, not of the clock: neighbours on the machine do not make a model slow."""
    cost_ms, before_ms = serving.cost_ms(LEAST_COSTS), previous.cost_ms(LEAST_COSTS)
    if cost_ms is None or cost_ms <= max(most_ms, DEARER * (before_ms or 0.0)):
        return None
    beside = "" if before_ms is None else f", of the one before {before_ms:.0f} ms"
    return Harm("cost", f"an answer takes {cost_ms:.0f} ms of a processor, more than {most_ms:.0f}{beside}")
