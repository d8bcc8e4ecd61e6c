"""The trainer's metrics: how its runs ended and what the gate measured. No other process exports them.

Invariant: a gauge that nothing has set is absent; a counter that an alert watches is there from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry, Counter, Gauge

from store.topics import TOPIC_NAMES
from trainer.gate.system_gain import Gain

RUN_RESULTS = ("published", "refused", "failed")
GATE_ROLES = ("candidate", "serving", "popular")


class TrainerMetrics:
    """All metrics of one trainer, in one registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._leading = Gauge(
            "sidestream_trainer_leading", "1 for the trainer at work, 0 for one that stands by", registry=self.registry
        )
        self._runs = Counter("sidestream_training_runs", "training runs by end", ["result"], registry=self.registry)
        for result in RUN_RESULTS:
            self._runs.labels(result)  # from the start: `increase` cannot see a series appear
        self._foreign = Counter(
            "sidestream_foreign_records",
            "records passed over that are not what their topic holds",
            ["topic"],
            registry=self.registry,
        )
        for topic in TOPIC_NAMES:
            self._foreign.labels(topic)
        self._gains = Gauge(
            "sidestream_gate_gain_nats",
            "what the system gained by the last candidate, per held-out engagement, with the ends of its 95 % interval",
            ["against", "slice", "bound"],
            registry=self.registry,
        )
        self._scores = Gauge(
            "sidestream_gate_score",
            "hit ratio at 10 in the gate's last comparison",
            ["checkpoint_role", "slice"],
            registry=self.registry,
        )

    def leads(self, leading: bool) -> None:
        """Whether this trainer is the one at work."""
        self._leading.set(leading)

    def run_ended(self, result: str) -> None:
        """A training run ended with `result`, one of `RUN_RESULTS`."""
        self._runs.labels(result).inc()

    def foreign_record(self, topic: str) -> None:
        """A record of `topic` was passed over."""
        self._foreign.labels(topic).inc()

    def gate_measured(
        self, hit_ratios: Mapping[tuple[str, str], float], gains: Mapping[tuple[str, str], Gain] = MappingProxyType({})
    ) -> None:
        """The gate's hit ratios by (one of `GATE_ROLES`, slice), and what the system gains by (against, slice)."""
        for (against, slice_name), gain in gains.items():
            for bound, value in (("mean", gain.mean), ("low", gain.low), ("high", gain.high)):
                self._gains.labels(against, slice_name, bound).set(value)
        for (role, slice_name), value in hit_ratios.items():
            self._scores.labels(role, slice_name).set(value)
