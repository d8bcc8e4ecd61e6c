"""Triggers: when a training run starts by itself. A pure function of what is known at the state."""

from __future__ import annotations

from dataclasses import dataclass

from store.settings import Training


@dataclass(frozen=True, slots=True)
class TriggerState:
    """`first`: there is no serving checkpoint. `new`: engagements since its offsets. `since_s`: seconds since the last
    run. `drifted`: the live metric fell below `drift_ratio` of what it was at the gate. `codebook_drifted`: fresh items
    fit the codebook much worse than those it was made of, or the catalogue has outgrown it."""

    first: bool
    new: int
    since_s: float
    drifted: bool = False
    codebook_drifted: bool = False


LEAST_SECONDS = 60.0
"""A run may always learn for so long: the first one, and one that a person asked for right after another."""


def seconds_allowed(since_s: float, rules: Training) -> float:
    """How long a run may learn that starts `since_s` after the one before it."""
    share_s = rules.run_share * min(since_s, rules.every_s)
    return min(rules.max_seconds, max(LEAST_SECONDS, share_s))


def allowance(since_s: float, rules: Training) -> str:
    """`seconds_allowed` in words, with its reason."""
    allowed_s, counted_s = seconds_allowed(since_s, rules), min(since_s, rules.every_s)
    if allowed_s == rules.max_seconds:
        why = "training.max_seconds"
    elif allowed_s == LEAST_SECONDS:
        why = "what every run may"
    else:
        why = f"{rules.run_share:.0%} of {counted_s:.0f} s between two runs"
    return f"it learns for at most {allowed_s:.0f} s: {why}"


def trigger(state: TriggerState, rules: Training) -> str | None:
    """Why a run should start now (`first`, `engagements`, `time`, `drift`, or `codebook`: another version), or None.

    Nothing but a refresh starts below `min_engagements`: there would be too little to learn from and to be judged on.
    A refresh waits until a quarter of `every_s` has passed since any run: one that is refused is not tried on and on.
    """
    if state.codebook_drifted and not state.first and state.since_s >= rules.every_s / 4:
        return "codebook"
    if state.new < rules.min_engagements:
        return None
    if state.first and state.new >= min(rules.first_engagements, rules.every_engagements):
        return "first"
    if state.new >= rules.every_engagements:
        return "engagements"
    if state.since_s >= rules.every_s:
        return "time"
    return "drift" if state.drifted else None
