"""Canary ages: how long ago the last canary left that came through, by stage and partition.

What nobody sends does not come late, so events alone cannot tell an idle pipeline from one that is cut off. A canary
leaves every few seconds, and the age of the last one that came through grows from one look to the next for as long as
none follows. It counts from the canary's own record, not from its arrival: so it is never less than how far behind
a stage is.

Invariant: an age that is not known is absent, and counted in `sidestream_canaries_missing`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from store.settings import Freshness
from store.topics import ENGAGEMENTS, UPLOADS
from stream.metrics.freshness import FreshnessHistogram
from stream.metrics.objectives import objective_s
from stream.metrics.recent_counts import Clock

OWNED_STAGES: Mapping[str, str] = {UPLOADS: "upload_to_semantic_id", ENGAGEMENTS: "engagement_to_history"}
"""Topic → the stage of which the owner of a partition knows."""
SHARED_STAGES = ("upload_to_recommendable", "engagement_to_embedding")
"""Of these every scorer knows."""
STAGES = (*OWNED_STAGES.values(), *SHARED_STAGES)


def overdue_after_s(stage: str, freshness: Freshness) -> float:
    """The age beyond which the last canary of a stage is overdue: the next one has not come, nor the one after it."""
    return 2 * freshness.canary_s + objective_s(stage, freshness)


class CanaryAges(Collector):
    """Of one process. Without `freshness.canary_s` there is nothing to see. All methods may be called from any
    thread."""

    def __init__(self, freshness: Freshness, clock: Clock = time.monotonic, wall_clock: Clock = time.time) -> None:
        self._freshness = freshness
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._started_at = wall_clock()
        self._watched: dict[str, set[int]] = {}
        self._left_at: dict[tuple[str, int], float] = {}
        self._late = {stage: FreshnessHistogram(f"canary_{stage}", "", clock) for stage in STAGES}

    def watch(self, stage: str, partitions: Iterable[int]) -> None:
        """Canaries of these partitions are expected at a stage; others are no longer this process' concern."""
        with self._lock:
            self._watched[stage] = wanted = set(partitions)
            for where in [each for each in self._left_at if each[0] == stage and each[1] not in wanted]:
                del self._left_at[where]

    def came(self, stage: str, partition: int, at_ms: int) -> None:
        """A canary that left at `at_ms` (epoch milliseconds; below 0: there was none) came through."""
        if at_ms < 0:
            return
        now = self._wall_clock()
        left_at = min(at_ms / 1000, now)  # a clock that is ahead of ours must not make it younger than it is
        with self._lock:
            is_newer = left_at > self._left_at.get((stage, partition), -1.0)
            if is_newer:
                self._left_at[stage, partition] = left_at
        if is_newer and left_at >= self._started_at:  # an older one was read again
            self._late[stage].observe(now - left_at)

    def ages_s(self) -> dict[str, dict[int, float]]:
        """Stage → partition → age now, of those that are watched and known."""
        now = self._wall_clock()
        with self._lock:
            return {
                stage: {p: max(0.0, now - self._left_at[stage, p]) for p in sorted(ps) if (stage, p) in self._left_at}
                for stage, ps in self._watched.items()
            }

    def missing(self) -> dict[str, int]:
        """Stage → partitions from which no canary has come yet."""
        with self._lock:
            return {s: sum((s, p) not in self._left_at for p in watched) for s, watched in self._watched.items()}

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Stage → what its canaries say now: the oldest of the partitions' ages and when it is overdue, how many are
        missing, and how late those of the recent window came. Empty without canaries."""
        ages_s, missing = self.ages_s(), self.missing()
        return {
            stage: {
                "age_s": max(ages_s[stage].values(), default=None),
                "overdue_after_s": overdue_after_s(stage, self._freshness),
                "missing": missing[stage],
                **self._late[stage].recent(),
            }
            for stage in ages_s
            if self._watched[stage]
        }

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """In Prometheus' form."""
        ages = GaugeMetricFamily(
            "sidestream_canary_age_seconds",
            "since the last canary left that came through, by stage and partition",
            labels=("stage", "partition"),
        )
        for stage, by_partition in self.ages_s().items():
            for partition, age_s in by_partition.items():
                ages.add_metric((stage, str(partition)), age_s)
        missing = GaugeMetricFamily(
            "sidestream_canaries_missing", "partitions from which no canary has come yet", labels=("stage",)
        )
        for stage, count in self.missing().items():
            missing.add_metric((stage,), count)
        overdue = GaugeMetricFamily(
            "sidestream_canary_overdue_after_seconds", "the age beyond which a canary is overdue", labels=("stage",)
        )
        for stage in STAGES if self._freshness.canary_s > 0 else ():
            overdue.add_metric((stage,), overdue_after_s(stage, self._freshness))
        yield from (ages, missing, overdue)
