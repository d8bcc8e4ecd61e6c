"""Status: how fresh the system is, each stage against its objective, in a form for people and for programs.

A passage is judged by its events and by its canaries (`stream.metrics.canary_ages`): where nobody sends anything, these
say whether the way is open, and where they do not come, events that came before say nothing.

Invariant: nothing is `met` without evidence. A stage without evidence is `unknown`, and so is the whole while one of
its stages is, unless one is missed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from store.settings import Freshness
from stream.metrics.objectives import objective_s

WORST_FIRST = ("missed", "unknown", "close", "met")
CLOSE = 0.8
"""From this share of its objective on, a stage that still meets it is `close`."""

TITLES: Mapping[str, str] = {
    "upload_to_semantic_id": "upload → semantic ID",
    "upload_to_recommendable": "upload → recommendable",
    "engagement_to_embedding": "engagement → embedding",
    "serving_model_data_age": "newest event the model knows",
    "checkpoint_age": "serving checkpoint",
    "codebook_age": "serving codebook",
}


def report(snapshot: Mapping[str, Any], objectives: Freshness, told: Collection[str] = TITLES.keys()) -> dict[str, Any]:
    """The answer of `/v1/status` from `Metrics.snapshot()`: stages, lag, rates and the verdict of all. `told`: the
    stages of which the process knows anything.

    A stage is judged by `value_s`: the recent p99 of a passage (of its canaries, where no event came), the age of a
    thing; a passage by its `canary`, too, if there is one. Verdicts are `met`, `close`, `missed` and `unknown`.
    """
    canaries = snapshot["canaries"]
    stages = [
        _passage(name, recent, objectives, canaries.get(name) or canaries.get(STANDS_FOR.get(name, "")))
        for name, recent in snapshot["freshness"].items()
        if name in told
    ]
    stages += [_age(name, snapshot["ages_s"].get(name), objectives) for name in told if name.endswith("_age")]
    most = objectives.input_lag_events
    lag = {
        topic: {"events": events, "objective": most, "verdict": verdict(events, most)}
        for topic, events in snapshot["lag"].items()
    }
    verdicts = [stage["verdict"] for stage in stages] + [each["verdict"] for each in lag.values()]
    verdicts += [] if lag else ["unknown"]  # no broker answers, or not yet
    return {
        "verdict": worst(verdicts),
        "stages": stages,
        "lag": lag,
        "events_per_s": snapshot["events_per_s"],
        "live_items": int(snapshot["live_items"] or 0),
        "live_hit_ratio": snapshot["live_hit_ratio"],
        "codebook_health": {
            "collision_ratio": snapshot["semantic_id_collision_ratio"],
            "perplexity": snapshot["perplexity"],
            "quantization_error": snapshot["quantization_error"],
        },
    }


def verdict(value: float | None, objective: float) -> str:
    """`met`, `close`, `missed`, or `unknown` when there is no value."""
    if value is None:
        return "unknown"
    if value > objective:
        return "missed"
    return "close" if value > CLOSE * objective else "met"


STANDS_FOR: Mapping[str, str] = {"upload_to_semantic_id": "upload_to_recommendable"}
"""A worker that owns no partition of `uploads` judges a stage by the canaries of one that comes after it."""


def worst(verdicts: Iterable[str]) -> str:
    """The worst of some verdicts."""
    return min(verdicts, key=WORST_FIRST.index)


def _passage(
    name: str, recent: Mapping[str, Any], objectives: Freshness, canary: Mapping[str, Any] | None
) -> dict[str, Any]:
    goal_s = objective_s(name, objectives)
    events = recent["count"]
    shown = recent if events or canary is None else canary
    found = [verdict(recent["p99_s"], goal_s)] if events or canary is None else []
    if canary is not None:
        found.append(_canary_verdict(canary, goal_s))
    return {
        "stage": name,
        "title": TITLES[name],
        "kind": "passage",
        "value_s": shown["p99_s"],
        "p50_s": shown["p50_s"],
        "p99_s": shown["p99_s"],
        "events": events,
        "window_s": recent["window_s"],
        "objective_s": goal_s,
        "canary": canary and _canary(canary, goal_s),
        "verdict": worst(found),
    }


def _canary(canary: Mapping[str, Any], goal_s: float) -> dict[str, Any]:
    """What the canaries of a passage say; null in the report where there are none."""
    return {
        "age_s": canary["age_s"],
        "overdue_after_s": canary["overdue_after_s"],
        "missing": canary["missing"],
        "came": canary["count"],
        "p99_s": canary["p99_s"],
        "verdict": _canary_verdict(canary, goal_s),
    }


def _canary_verdict(canary: Mapping[str, Any], goal_s: float) -> str:
    """`missed` where one is overdue, whatever else is known; `unknown` until one has come from each partition."""
    if (canary["age_s"] or 0.0) > canary["overdue_after_s"]:
        return "missed"
    return "unknown" if canary["missing"] else verdict(canary["p99_s"], goal_s)


def _age(name: str, age_s: float | None, objectives: Freshness) -> dict[str, Any]:
    goal_s = objective_s(name, objectives)
    return {
        "stage": name,
        "title": TITLES[name],
        "kind": "age",
        "value_s": age_s,
        "objective_s": goal_s,
        "verdict": verdict(age_s, goal_s),
    }
