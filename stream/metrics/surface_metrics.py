"""Metrics of what answers went without: parts that were late, whole answers that were, and being made at all."""

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
        self._cached = Counter(
            "sidestream_cached_answers", "answers that were kept from a moment ago", ("task",), registry=registry
        )
        for task in get_args(Task):
            self._cached.labels(task)
        for part in LATE_PARTS:
            self._late.labels(part)
        for task, cause in product(get_args(Task), FALLBACK_CAUSES):
            self._fallbacks.labels(task, cause)

    def cached(self, task: Task) -> None:
        """A request was answered by what it was answered a moment ago."""
        self._cached.labels(task).inc()

    def late(self, part: str) -> None:
        """An answer was made without `part`, one of `LATE_PARTS`."""
        self._late.labels(part).inc()

    def fell_back(self, task: Task, cause: str) -> None:
        """The fallback of a task answered, for one of `FALLBACK_CAUSES`."""
        self._fallbacks.labels(task, cause).inc()
