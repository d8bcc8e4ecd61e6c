"""Metrics of precomputed tables: which share of the requests they answer, what that saves, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from store.requests import Task

PASSED = ("missing", "explored", "personal")
"""Why a request is not answered from a table: there is no list that holds, it was its turn to explore, or no list
answers it exactly."""
TABLE_RESULTS = ("answered", *PASSED)
AGE_EDGES_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class TableMetrics:
    """Of one process. `put` sets a gauge."""

    def __init__(self, registry: CollectorRegistry, put: Callable[[str, float], None]) -> None:
        self._put = put
        self._requests = Counter(
            "sidestream_table_requests", "requests, by what tables did for them", ("task", "result"), registry=registry
        )
        self._cpu = Counter(
            "sidestream_table_cpu_seconds", "processor time that lists saved, or took", ("of",), registry=registry
        )
        self._age = Histogram(
            "sidestream_table_age_seconds", "age of a list when it answered", buckets=AGE_EDGES_S, registry=registry
        )
        for task, result in product(get_args(Task), TABLE_RESULTS):
            self._requests.labels(task, result)
        for of in ("saved", "spent"):
            self._cpu.labels(of)

    def answered(self, task: Task, *, age_s: float, saved_s: float) -> None:
        """A list answered that was `age_s` old, instead of so much work."""
        self._requests.labels(task, "answered").inc()
        self._age.observe(age_s)
        self._cpu.labels("saved").inc(saved_s)

    def passed(self, task: Task, why: str) -> None:
        """A request went the usual way: `why` is one of `PASSED`."""
        self._requests.labels(task, why).inc()

    def spent(self, cpu_s: float) -> None:
        """Processor time was spent on making lists."""
        self._cpu.labels("spent").inc(cpu_s)

    def held(self, lists: int, size_bytes: int) -> None:
        """So many lists are at hand, of about so many bytes."""
        self._put("table_lists", lists)
        self._put("table_bytes", size_bytes)
