"""Gauges: what is so now, and ages that grow from one look to the next.

Invariant: a gauge that nobody has set is absent, not zero.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from stream.metrics.recent_counts import Clock

AGES: Mapping[str, str] = {
    "serving_model_data_age": "age of the newest event that the serving checkpoint was trained on",
    "checkpoint_age": "time since the serving checkpoint was published",
    "codebook_age": "time since the serving codebook version was trained",
}
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "consumer_lag": ("events behind the end of the topic", ("topic", "partition")),
    "live_hit_ratio": ("engagements found in the top k before they were learned from", ("k", "slice")),
    "ranker_calibration_error": ("distance between what a head of the ranker predicts and what comes", ("head",)),
    "exploration_coverage_ratio": ("share of little-known live items that were shown at least once", ()),
    "live_items": ("items that can be recommended", ()),
    "table_lists": ("lists of precomputed answers that are at hand", ()),
    "table_bytes": ("what they take in memory, about", ()),
    "unknown_items": ("items with engagements that nobody has uploaded", ()),
    "semantic_id_collision_ratio": ("share of live items whose codes another live item has too", ()),
    "codebook_perplexity": ("effective number of codes in use", ("level",)),
    "quantization_error": ("mean squared distance between content vectors and their codes", ()),
    "semantic_id_distinct_ratio": ("different semantic IDs divided by live items", ()),
    "semantic_id_largest_collision": ("most live items with the same codes", ()),
    "codebook_dead_codes": ("codes that no live item has", ("level",)),
    "codebook_error": ("quantisation error of old and of fresh items, and of held-out ones when made", ("items",)),
    "codebook_drift": ("quantisation error of fresh items divided by that of held-out ones when made", ()),
    "codebook_churn": ("share of items whose codes up to this level the serving version changed", ("level",)),
}


class Gauges(Collector):
    """Gauges that exist once they are set, and ages that are computed when read."""

    def __init__(self, wall_clock: Clock) -> None:
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._values: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in GAUGES}

    def since(self, age: str, moment: float) -> None:
        """The age named `age` counts from `moment` (epoch seconds) from now on."""
        with self._lock:
            self._since[age] = moment

    def put(self, name: str, value: float, *labels: str) -> None:
        """Set one series."""
        with self._lock:
            self._values[name][labels] = float(value)

    def replace(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Set all series of a gauge; what is not named is absent from now on."""
        with self._lock:
            self._values[name] = dict(values)

    def ages_s(self) -> dict[str, float]:
        """Age name → seconds, now."""
        now = self._wall_clock()
        with self._lock:
            return {age: max(0.0, now - moment) for age, moment in self._since.items()}

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """Label values → value."""
        with self._lock:
            return dict(self._values[name])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All gauges in Prometheus' form."""
        ages_s = self.ages_s()
        for age, help_text in AGES.items():
            family = GaugeMetricFamily(f"sidestream_{age}_seconds", help_text, labels=())
            if age in ages_s:
                family.add_metric((), ages_s[age])
            yield family
        for name, (help_text, labels) in GAUGES.items():
            family = GaugeMetricFamily(f"sidestream_{name}", help_text, labels=labels)
            for label_values, value in self.values(name).items():
                family.add_metric(label_values, value)
            yield family
