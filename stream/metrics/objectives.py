"""Objectives: what a system is held to, from the settings, for whoever judges it: `status`, the page, and alert rules.

Rules compare with these gauges, so that a changed setting changes the alerts, too. Whether an event kept the objective
of a passage is counted when it came: so the share is exact whatever the objective, at an edge of a histogram or not.

Invariant: what is exported is what this process was started with.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from store.settings import Freshness

PASSAGES = ("upload_to_semantic_id", "upload_to_recommendable", "engagement_to_embedding")
AGES = ("serving_model_data_age", "checkpoint_age", "codebook_age")
PASSAGE_RESULTS = ("in_time", "late")


def objective_s(stage: str, objectives: Freshness) -> float:
    """What a stage is held to, seconds. A semantic ID comes before recommendable, a history before the
    embedding, and a checkpoint ages with its data."""
    return {
        "upload_to_semantic_id": objectives.upload_to_recommendable_s,
        "upload_to_recommendable": objectives.upload_to_recommendable_s,
        "engagement_to_history": objectives.engagement_to_embedding_s,
        "engagement_to_embedding": objectives.engagement_to_embedding_s,
        "serving_model_data_age": objectives.model_data_age_s,
        "checkpoint_age": objectives.model_data_age_s,
        "codebook_age": objectives.codebook_age_s,
    }[stage]


class Objectives(Collector):
    """The objectives of one process as gauges."""

    def __init__(self, freshness: Freshness) -> None:
        self._freshness = freshness

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """In Prometheus' form."""
        seconds = GaugeMetricFamily(
            "sidestream_objective_seconds", "what a stage is held to, by the settings", labels=("stage",)
        )
        for stage in (*PASSAGES, *AGES):
            seconds.add_metric((stage,), objective_s(stage, self._freshness))
        yield seconds
        yield GaugeMetricFamily(
            "sidestream_objective_lag_events",
            "how far behind the end of a topic the readers may be, by the settings",
            value=self._freshness.input_lag_events,
        )
        yield GaugeMetricFamily(
            "sidestream_objective_late_ratio",
            "the share of events that may be late, by the settings",
            value=self._freshness.late_share,
        )
