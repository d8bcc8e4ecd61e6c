"""Status: how fresh the system is, each stage against its objective, in a form for people and for programs.

Invariant: nothing is `met` without evidence. A stage without events or a model is `unknown`, and so is the whole while
one of its stages is, unless one is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.settings import Freshness

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


def report(snapshot: Mapping[str, Any], objectives: Freshness) -> dict[str, Any]:
    """The answer of `/v1/status` from `Metrics.snapshot()`: stages, lag, rates and the verdict of all.

    A stage is judged by `value_s`: the recent p99 of a passage, the age of a thing. Verdicts are `met`, `close`,
    `missed` and `unknown`.
    """
    stages = [_passage(name, recent, objectives) for name, recent in snapshot["freshness"].items()]
    stages += [_age(name, snapshot["ages_s"].get(name), objectives) for name in TITLES if name.endswith("_age")]
    most = objectives.input_lag_events
    lag = {
        topic: {"events": events, "objective": most, "verdict": verdict(events, most)}
        for topic, events in snapshot["lag"].items()
    }
    verdicts = [stage["verdict"] for stage in stages] + [each["verdict"] for each in lag.values()]
    verdicts += [] if lag else ["unknown"]  # no broker answers, or not yet
    return {
        "verdict": next(worst for worst in ("missed", "unknown", "close", "met") if worst in verdicts),
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


def objective_s(stage: str, objectives: Freshness) -> float:
    """What a stage is held to, seconds. A semantic ID comes before recommendable, a checkpoint ages with its data."""
    return {
        "upload_to_semantic_id": objectives.upload_to_recommendable_s,
        "upload_to_recommendable": objectives.upload_to_recommendable_s,
        "engagement_to_embedding": objectives.engagement_to_embedding_s,
        "serving_model_data_age": objectives.model_data_age_s,
        "checkpoint_age": objectives.model_data_age_s,
        "codebook_age": objectives.codebook_age_s,
    }[stage]


def verdict(value: float | None, objective: float) -> str:
    """`met`, `close`, `missed`, or `unknown` when there is no value."""
    if value is None:
        return "unknown"
    if value > objective:
        return "missed"
    return "close" if value > CLOSE * objective else "met"


def _passage(name: str, recent: Mapping[str, Any], objectives: Freshness) -> dict[str, Any]:
    goal_s = objective_s(name, objectives)
    return {
        "stage": name,
        "title": TITLES[name],
        "kind": "passage",
        "value_s": recent["p99_s"],
        "p50_s": recent["p50_s"],
        "p99_s": recent["p99_s"],
        "events": recent["count"],
        "window_s": recent["window_s"],
        "objective_s": goal_s,
        "verdict": verdict(recent["p99_s"], goal_s),
    }


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
