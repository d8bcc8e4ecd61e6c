"""What a report says of the model: alone, the ranker with and without it, on the young and the cold, by age, its cost.

Invariant: all pairs are of the same engagements, those that a checkpoint was there for.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from trainer.evaluation.cold_evaluation import FRESH_BELOW
from trainer.evaluation.model_in_replay import ModelOutcome, ModelRecord

AGE_PARTS = 4
"""Quality is told for so many equal parts of how far behind the checkpoint was."""


def model_report(record: ModelRecord, ranks: Sequence[int], positives: Sequence[int], k: int) -> dict[str, Any]:
    """`ranks`: of the true items with the model, and `positives`: engagements that they had, both in the order of
    `record.outcomes`. Empty without a model."""
    if not record.runs:
        return {}
    rows = list(zip(record.outcomes, ranks, positives, strict=True))
    served = [(one, rank, count) for one, rank, count in rows if one.served]
    slices = {
        "overall": served,
        "fresh": [row for row in served if row[2] < FRESH_BELOW],
        "cold": [row for row in served if row[2] == 0],
        "younger": [row for row in served if row[0].younger],
        "older": [row for row in served if not row[0].younger],
    }
    found: dict[str, Any] = {name: _compared(some, k) for name, some in slices.items()}
    older, younger = found["older"][f"alone_hr@{k}"], found["younger"][f"alone_hr@{k}"]
    found["younger"]["share_of_older"] = younger / older if older and younger is not None else None
    found["cold_within"] = _cold(record, k)
    found["by_age"] = _by_age([one for one, _, _ in served], k)
    found["runs"] = record.runs
    found["train_cpu_s"] = round(sum(run["cpu_s"] for run in record.runs), 1)
    return found


def _compared(rows: Sequence[tuple[ModelOutcome, int, int]], k: int) -> dict[str, Any]:
    """Hits of the model alone, of the ranker with and without it, and the paired difference with its 95 % interval."""
    alone = _hits([one.alone for one, _, _ in rows], k)
    with_model = _hits([rank for _, rank, _ in rows], k)
    without = _hits([one.without for one, _, _ in rows], k)
    return {
        "evaluated": len(rows),
        f"alone_hr@{k}": _mean(alone),
        f"with_hr@{k}": _mean(with_model),
        f"without_hr@{k}": _mean(without),
        "gain": _mean(with_model - without),
        "gain_interval": _interval(with_model - without),
    }


def _cold(record: ModelRecord, k: int) -> dict[str, Any]:
    """Untouched items among the untouched: by the model, by likeness of content, and by chance."""
    model = _hits([one.model for one in record.cold], k)
    content = _hits([one.content for one in record.cold], k)
    return {
        "evaluated": len(record.cold),
        f"model_hr@{k}": _mean(model),
        f"content_hr@{k}": _mean(content),
        f"chance@{k}": _mean(np.array([min(1.0, k / one.negatives) for one in record.cold])),
        "gain": _mean(model - content),
        "gain_interval": _interval(model - content),
    }


def _by_age(outcomes: Sequence[ModelOutcome], k: int) -> list[dict[str, Any]]:
    """The model alone by how many engagements its checkpoint was behind: the price of the training interval."""
    ordered = sorted(outcomes, key=lambda one: one.behind)
    parts = [ordered[len(ordered) * n // AGE_PARTS : len(ordered) * (n + 1) // AGE_PARTS] for n in range(AGE_PARTS)]
    return [
        {
            "behind": [part[0].behind, part[-1].behind],
            "evaluated": len(part),
            f"alone_hr@{k}": _mean(_hits([one.alone for one in part], k)),
        }
        for part in parts
        if part
    ]


def _hits(ranks: Sequence[int], k: int) -> np.ndarray:
    return np.array([0 <= rank < k for rank in ranks], np.float64)


def _mean(values_N: np.ndarray) -> float | None:
    return float(values_N.mean()) if len(values_N) else None


def _interval(difference_N: np.ndarray) -> list[float] | None:
    if len(difference_N) < 2:
        return None
    mean, error = float(difference_N.mean()), 1.96 * float(difference_N.std(ddof=1)) / sqrt(len(difference_N))
    return [mean - error, mean + error]
