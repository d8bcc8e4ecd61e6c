"""Metrics of what answers went without: parts that were late, and whole answers that were."""

from __future__ import annotations

from itertools import product
from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from store.requests import Task

LATE_PARTS = ("model", "owner", "ranking")
"""What may be too late for an answer: the model, the worker that has the user, or all that ranks."""
FALLBACK_CAUSES = ("late", "failed")


class SurfaceMetrics:
    """Of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._late = Counter(
            "sidestream_late_parts", "answers made without a part that was late", ("part",), registry=registry
        )
        self._fallbacks = Counter(
            "sidestream_fallback_answers", "answers by the fallback of a task", ("task", "cause"), registry=registry
        )
        for part in LATE_PARTS:
            self._late.labels(part)
        for task, cause in product(get_args(Task), FALLBACK_CAUSES):
            self._fallbacks.labels(task, cause)

    def late(self, part: str) -> None:
        """An answer was made without `part`, one of `LATE_PARTS`."""
        self._late.labels(part).inc()

    def fell_back(self, task: Task, cause: str) -> None:
        """The fallback of a task answered, for one of `FALLBACK_CAUSES`."""
        self._fallbacks.labels(task, cause).inc()
