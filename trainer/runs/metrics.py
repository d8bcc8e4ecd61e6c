"""The trainer's metrics: how its runs ended and what the gate measured. No other process exports them.

Invariant: a gauge that nothing has set is absent; a counter that an alert watches is there from the start.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

RUN_RESULTS = ("published", "refused", "failed")
GATE_ROLES = ("candidate", "serving", "popular")


class TrainerMetrics:
    """All metrics of one trainer, in one registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._runs = Counter("sidestream_training_runs", "training runs by end", ["result"], registry=self.registry)
        for result in RUN_RESULTS:
            self._runs.labels(result)  # from the start: `increase` cannot see a series appear
        self._scores = Gauge(
            "sidestream_gate_score",
            "hit ratio at 10 in the gate's last comparison",
            ["checkpoint_role", "slice"],
            registry=self.registry,
        )

    def run_ended(self, result: str) -> None:
        """A training run ended with `result`, one of `RUN_RESULTS`."""
        self._runs.labels(result).inc()

    def gate_measured(self, hit_ratios: Mapping[tuple[str, str], float]) -> None:
        """The gate's hit ratios by (one of `GATE_ROLES`, slice)."""
        for (role, slice_name), value in hit_ratios.items():
            self._scores.labels(role, slice_name).set(value)
