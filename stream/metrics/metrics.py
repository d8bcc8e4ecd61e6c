"""Metrics: what an operator sees of a worker, under the names of docs/contracts.md. What only the trainer knows is in
`trainer.runs.metrics`.

One `Metrics` belongs to one process and one registry; nothing here is global. Methods are named by what happened.
Labels are bounded: a value outside its list is counted as `other`, so that no input can grow the series.

Invariant: nothing understates. Ages are computed when they are read, so they grow while nothing happens; a gauge that
nobody has set is absent, not zero.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from itertools import product
from types import MappingProxyType
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from store.events import REASONS
from store.requests import Task
from store.settings import Freshness
from store.topics import ENGAGEMENTS, TOPIC_NAMES, UPLOADS
from stream.metrics.canary_ages import CanaryAges
from stream.metrics.freshness import FreshnessHistogram
from stream.metrics.gauges import GAUGES, Gauges
from stream.metrics.objectives import PASSAGE_RESULTS, Objectives, objective_s
from stream.metrics.recent_counts import Clock, RecentCounts
from stream.metrics.surface_metrics import SurfaceMetrics
from stream.metrics.table_metrics import TableMetrics

TASKS: tuple[str, ...] = get_args(Task)
SLICES = ("overall", "fresh", "cold", "day", "week", *TASKS)
"""What a score speaks for: everything, items with little or no behaviour, young items, one task."""

REQUEST_RESULTS = ("ok", "degraded", "bad_request", "overloaded", "error")
EXPIRING = ("users", "items")
SHOWN_SOURCES = ("ranked", "explore")
PEER_FAILURES = ("unknown", "unreachable", "timeout", "refused")
CANARY_RESULTS = ("sent", "failed")
SPAN_RESULTS = ("exported", "dropped")
SWAP_RESULTS = ("swapped", "rolled_back", "refused", "failed")
WATCH_CAUSES = ("hits", "writing", "calibration", "cost", "failures")

RECOMMEND_EDGES_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
PAUSE_EDGES_S = (0.00001, 0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0)

FRESHNESS: Mapping[str, str] = {
    "upload_to_semantic_id": "from an upload's broker timestamp to its semantic ID",
    "upload_to_recommendable": "from an upload's broker timestamp to its being in this scorer's live tree",
    "engagement_to_embedding": "from an engagement's broker timestamp to the changed vector in this scorer",
}


class Metrics:
    """All metrics of one process. Every method may be called from any thread. `freshness`: the objectives."""

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        freshness: Freshness = Freshness(),
        clock: Clock = time.monotonic,
        wall_clock: Clock = time.time,
    ) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self._lock = threading.Lock()
        self._freshness = {
            stage: FreshnessHistogram(f"sidestream_{stage}_seconds", text, clock) for stage, text in FRESHNESS.items()
        }
        self._gauges = Gauges(wall_clock)
        self.canaries = CanaryAges(freshness, clock, wall_clock)
        self.tables = TableMetrics(self.registry, self._gauges.put)
        self.surfaces = SurfaceMetrics(self.registry)
        self._objectives_s = {stage: objective_s(stage, freshness) for stage in FRESHNESS}
        self._rates = {topic: RecentCounts(1, slots=30, slot_s=1.0, clock=clock) for topic in TOPIC_NAMES}
        for collector in (*self._freshness.values(), self._gauges, self.canaries, Objectives(freshness)):
            self.registry.register(collector)
        self._events = self._counter("events", "events read, by what became of them", "topic", "result")
        passages = self._counter("passages", "events that reached a stage, in time or late", "stage", "result")
        # from the start, for `increase` cannot see a series appear; and found without a label's cost
        self._passages = {key: passages.labels(*key) for key in product(FRESHNESS, PASSAGE_RESULTS)}
        self._dead_letters = self._counter("dead_letters", "records refused, by reason", "reason")
        self._dropped = self._counter("dropped_values", "optional values of events that were wrong", "topic", "field")
        self._foreign = self._counter(
            "foreign_records", "records passed over that are not what their topic holds", "topic"
        )
        self._requests = self._counter("recommend_requests", "requests for recommendations", "task", "result")
        self._peer_failures = self._counter("peer_failures", "requests that the user's owner did not answer", "reason")
        self._from_copies = self._counter("copy_answers", "requests answered from a copy of the user's row")
        self._swaps = self._counter("swaps", "exchanges of the serving checkpoint", "result")
        self._watch_rollbacks = self._counter(
            "watch_rollbacks", "rollbacks by this worker's watch over a new checkpoint, by what was wrong", "cause"
        )
        self._unknown_engagements = self._counter(
            "unknown_item_engagements", "engagements with items that are not in the catalogue"
        )
        self._canaries = self._counter("canaries", "canaries published, by how that ended", "topic", "result")
        self._expired = self._counter("expired_rows", "rows that went because nobody touched them for long", "of")
        self._shown = self._counter("shown_lines", "lines of answers", "source")
        self._hits = self._counter("shown_line_hits", "shown lines that somebody engaged with positively", "source")
        self._spans = self._counter("trace_spans", "spans of traced events, by what became of them", "result")
        self._malformed = self._counter("malformed_traceparents", "headers traceparent that name no trace")
        self._recommend = self._histogram("recommend_seconds", "time to answer", RECOMMEND_EDGES_S, "task")
        self._pause = self._histogram("swap_pause_seconds", "time in which a swap held up answers", PAUSE_EDGES_S)
        self._start_at_zero()

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"sidestream_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, edges: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"sidestream_{name}", help_text, labels, buckets=edges, registry=self.registry)

    def _start_at_zero(self) -> None:
        """Counters that alert rules watch exist from the start: `increase` cannot see a series appear."""
        for reason in REASONS:
            self._dead_letters.labels(reason)
        for topic in TOPIC_NAMES:
            self._foreign.labels(topic)
        for topic in (UPLOADS, ENGAGEMENTS):
            for result in CANARY_RESULTS:
                self._canaries.labels(topic, result)
        for of in EXPIRING:
            self._expired.labels(of)
        for source in SHOWN_SOURCES:
            self._shown.labels(source)
            self._hits.labels(source)
        for reason in PEER_FAILURES:
            self._peer_failures.labels(reason)
        for result in SWAP_RESULTS:
            self._swaps.labels(result)
        for cause in WATCH_CAUSES:
            self._watch_rollbacks.labels(cause)
        for result in SPAN_RESULTS:
            self._spans.labels(result)

    # ---- events ----

    def absorbed(self, topic: str, n: int = 1) -> None:
        """`n` events changed the state."""
        self._count(topic, "absorbed", n)

    def duplicated(self, topic: str, n: int = 1) -> None:
        """`n` events had been absorbed before and changed nothing."""
        self._count(topic, "duplicate", n)

    def refused(self, topic: str, reason: str, n: int = 1) -> None:
        """`n` events went to the dead letters because of `reason`."""
        self._count(topic, "refused", n)
        self._dead_letters.labels(_bounded(reason, REASONS)).inc(n)

    def dropped(self, topic: str, fields: Iterable[str]) -> None:
        """Optional values of these fields were wrong, and dropped; their events were not."""
        for name in fields:
            self._dropped.labels(_bounded(topic, TOPIC_NAMES), name).inc()

    def foreign_record(self, topic: str) -> None:
        """A record of `topic` was passed over: it is not what that holds."""
        self._foreign.labels(_bounded(topic, TOPIC_NAMES)).inc()

    def canary(self, topic: str, result: str) -> None:
        """A canary was published to `topic`, or could not be: one of `CANARY_RESULTS`."""
        self._canaries.labels(_bounded(topic, TOPIC_NAMES), _bounded(result, CANARY_RESULTS)).inc()

    def _count(self, topic: str, result: str, n: int) -> None:
        topic = _bounded(topic, TOPIC_NAMES)
        self._events.labels(topic, result).inc(n)
        if topic in self._rates:
            with self._lock:
                self._rates[topic].add(0, n)

    def lag(self, events: Mapping[tuple[str, int], int]) -> None:
        """How many events each assigned (topic, partition) is behind; partitions not named are no longer ours."""
        self._gauges.replace(
            "consumer_lag",
            {(_bounded(topic, TOPIC_NAMES), str(partition)): n for (topic, partition), n in events.items()},
        )

    def lag_by_partition(self) -> dict[tuple[str, int], int]:
        """What `lag` was told last."""
        return {(topic, int(number)): int(n) for (topic, number), n in self._gauges.values("consumer_lag").items()}

    # ---- freshness: ages in seconds since the event's own broker timestamp ----

    def semantic_id_assigned(self, age_s: float, n: int = 1) -> None:
        """`n` uploads have their semantic ID."""
        self._passed("upload_to_semantic_id", age_s, n)

    def became_recommendable(self, age_s: float, n: int = 1) -> None:
        """`n` uploads can be recommended by this scorer."""
        self._passed("upload_to_recommendable", age_s, n)

    def embedded(self, age_s: float, n: int = 1) -> None:
        """`n` engagements show in the vectors that this scorer uses."""
        self._passed("engagement_to_embedding", age_s, n)

    def _passed(self, stage: str, age_s: float, n: int) -> None:
        self._freshness[stage].observe(age_s, n)
        self._passages[stage, "late" if age_s > self._objectives_s[stage] else "in_time"].inc(n)

    # ---- model and codebook: moments in epoch seconds ----

    def serving(self, *, data_until: float, published_at: float) -> None:
        """This process serves a checkpoint that was trained on events up to `data_until`."""
        self._gauges.since("serving_model_data_age", data_until)
        self._gauges.since("checkpoint_age", published_at)

    def codebook_serves(self, trained_at: float) -> None:
        """This process serves a codebook version trained at `trained_at`."""
        self._gauges.since("codebook_age", trained_at)

    def codebook_measured(
        self,
        *,
        perplexities: Iterable[float],
        error: float,
        collision_ratio: float,
        by_level: Mapping[str, Iterable[float]] = MappingProxyType({}),
        errors: Mapping[str, float] = MappingProxyType({}),
        plain: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Health of the serving codebook over live items: a perplexity, and more `by_level`, for each level from 0 on;
        `errors` by kind of item; `plain` gauges by their name."""
        for name, values in {"codebook_perplexity": perplexities, **by_level}.items():
            self._gauges.replace(name, {(str(level),): value for level, value in enumerate(values)})
        self._gauges.replace("codebook_error", {(items,): value for items, value in errors.items()})
        figures = {"quantization_error": error, "semantic_id_collision_ratio": collision_ratio, **plain}
        for name, value in figures.items():
            self._gauges.put(name, value)

    def live_items(self, n: int) -> None:
        """How many items can be recommended."""
        self._gauges.put("live_items", n)

    def expired(self, of: str, n: int) -> None:
        """`n` rows of `users` or `items` went because nobody had touched them for long."""
        self._expired.labels(_bounded(of, EXPIRING)).inc(n)

    def unknown_engaged(self, n: int = 1) -> None:
        """`n` engagements were with items that are not in the catalogue."""
        self._unknown_engagements.inc(n)

    def unknown_items(self, n: int) -> None:
        """How many items have engagements and no upload, as far as their rows are kept."""
        self._gauges.put("unknown_items", n)

    def swapped(self, result: str, pause_s: float | None = None) -> None:
        """A swap ended with `result` (one of `SWAP_RESULTS`) and held up answers for `pause_s`."""
        self._swaps.labels(_bounded(result, SWAP_RESULTS)).inc()
        if pause_s is not None:
            self._pause.observe(pause_s)

    def watch_rolled_back(self, cause: str) -> None:
        """The watch went back by itself, because of `cause` (one of `WATCH_CAUSES`)."""
        self._watch_rollbacks.labels(_bounded(cause, WATCH_CAUSES)).inc()

    def live_hits(self, k: int, slice_name: str, ratio: float) -> None:
        """Share of sampled engagements found in the top `k` before they were learned from."""
        self._gauges.put("live_hit_ratio", ratio, str(k), _bounded(slice_name, SLICES))

    def explored(self, coverage: float) -> None:
        """This share of the little-known live items was shown at least once."""
        self._gauges.put("exploration_coverage_ratio", coverage)

    def ranker_measured(self, errors: Mapping[str, float]) -> None:
        """The serving ranker's heads and their expected calibration errors; those not named are absent from now on."""
        self._gauges.replace("ranker_calibration_error", {(head,): error for head, error in errors.items()})

    # ---- requests ----

    def showed(self, lines: int, explored: int) -> None:
        """An answer showed so many lines, `explored` of them for what they teach."""
        self._shown.labels("ranked").inc(lines - explored)
        self._shown.labels("explore").inc(explored)

    def shown_hit(self, explored: bool) -> None:
        """Somebody engaged positively with a line that was shown."""
        self._hits.labels("explore" if explored else "ranked").inc()

    def peer_failed(self, reason: str) -> None:
        """The owner of a user did not answer a forwarded request: one of `PEER_FAILURES`."""
        self._peer_failures.labels(_bounded(reason, PEER_FAILURES)).inc()

    def answered_from_copy(self) -> None:
        """The owner of a user did not answer, and the request was answered from a copy of the user's row."""
        self._from_copies.inc()

    def recommended(self, task: str, result: str, took_s: float) -> None:
        """A request was answered with `result` (one of `REQUEST_RESULTS`)."""
        task = _bounded(task, TASKS)
        self._requests.labels(task, _bounded(result, REQUEST_RESULTS)).inc()
        self._recommend.labels(task).observe(took_s)

    # ---- traces ----

    def spans(self, result: str, n: int) -> None:
        """`n` spans came to their end: one of `SPAN_RESULTS`."""
        self._spans.labels(_bounded(result, SPAN_RESULTS)).inc(n)

    def malformed_traceparent(self) -> None:
        """A header `traceparent` names no trace, and was ignored."""
        self._malformed.inc()

    def snapshot(self) -> dict[str, Any]:
        """What is true now, for `status` and the page (see `stream.metrics.status.report`)."""
        with self._lock:
            rates = {topic: rate.rate_per_s() for topic, rate in self._rates.items()}
        lag: dict[str, float] = {}
        for (topic, _), events in self._gauges.values("consumer_lag").items():
            lag[topic] = lag.get(topic, 0) + events
        plain = {name: self._gauges.values(name).get(()) for name, (_, labels) in GAUGES.items() if not labels}
        return {
            "freshness": {stage: histogram.recent() for stage, histogram in self._freshness.items()},
            "canaries": self.canaries.snapshot(),
            "ages_s": self._gauges.ages_s(),
            "events_per_s": {topic: round(rate, 2) for topic, rate in rates.items() if rate},
            "lag": {topic: int(events) for topic, events in lag.items()},
            "perplexity": [value for _, value in sorted(self._gauges.values("codebook_perplexity").items())],
            "live_hit_ratio": {
                f"{slice_name}@{k}": value for (k, slice_name), value in self._gauges.values("live_hit_ratio").items()
            },
            **plain,
        }


def _bounded(value: str, allowed: tuple[str, ...]) -> str:
    return value if value in allowed else "other"
