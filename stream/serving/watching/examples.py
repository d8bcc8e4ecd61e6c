"""Examples: engagements ranked before they are learned from, as far as there is time. The ranker learns from them,
and they feed the live metric and the watch over a new checkpoint.

Invariant: an example holds nothing that its own engagement has taught.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import msgspec

from store.events import Engagement
from store.histories import UserRow
from store.keys import hash64
from store.settings import Settings
from stream.metrics.metrics import Metrics
from stream.serving.attribution import Attribution
from stream.serving.swaps import Swaps
from stream.serving.time_share import TimeShare
from stream.serving.watching.live_metric import LiveMetric
from trainer.ranking.example import Example
from trainer.recommender import Recommender

RANKED_PER_S = 5.0
"""Engagements ranked for the live metric, at most: each costs as much as a request. Others that are scored are examples
only, which need no order."""

MOST_LEAD = 100
"""As many others (negative ones, impressions that were not served here) are scored as positive ones; so many of these
may go before."""


class Examples:
    """What engagements teach the ranker of one scorer."""

    def __init__(
        self,
        settings: Settings,
        recommender: Recommender,
        swaps: Swaps,
        attribution: Attribution,
        metrics: Metrics,
    ) -> None:
        self.live = LiveMetric()
        self._settings = settings
        self._recommender = recommender
        self._swaps = swaps
        self._attribution = attribution
        self._metrics = metrics
        self._sampling = TimeShare(settings.serving.live_sample_time)
        self._lead = 0
        self._ranked_at = 0.0

    def outcome(self, event: Engagement) -> bytes | None:
        """What an engagement says of a line that was shown, encoded; told again whenever its record is read again."""
        return self._attribution.outcome(event, self._weight(event))

    def examine(self, event: Engagement, row_before: Callable[[], UserRow]) -> bytes | None:
        """Hears of an engagement before it is learned from; returns a ranking example, encoded, if it was sampled. An
        impression that was not served here is one, too."""
        self._recommender.observe(event.occurred_at)
        weight = self._weight(event)
        elsewhere = event.kind == "impression" and event.request_id is None
        if weight == 0 and not (elsewhere and not self._attribution.shown_here(event)):
            return None
        if not self._is_sampled(event, weight > 0):
            return None
        with self._sampling:
            return self._example(row_before(), event, weight)

    def _example(self, row: UserRow, event: Engagement, weight: float) -> bytes | None:
        now = time.monotonic()
        ordered = weight > 0 and now - self._ranked_at >= 1.0 / RANKED_PER_S
        due_s = math.inf if self._swaps.asked_at_once else -math.inf
        ranked = self._recommender.example(row, event, weight, ordered=ordered, due_s=due_s)
        if ranked is None:
            return None
        example = ranked.example
        self._lead = min(self._lead + 1, MOST_LEAD) if weight > 0 else self._lead - 1
        if ordered:
            self._ranked_at = now
            self._measure(example)
            self._swaps.watch(ranked)
        elif weight == 0:
            return self._attribution.elsewhere(event, example) if example.found else None
        return msgspec.msgpack.encode(msgspec.structs.replace(example, ordered=ordered))

    def _is_sampled(self, event: Engagement, positive: bool) -> bool:
        if not self._sampling.free() or not (positive or self._lead > 0):
            return False
        share = self._settings.serving.live_sample
        return share >= 1.0 or hash64(event.event_id) / 2.0**64 < share

    def _weight(self, event: Engagement) -> float:
        return self._settings.events.weights.get(event.kind, 0.0)

    def _measure(self, example: Example) -> None:
        slices = ["overall", example.task] + (["fresh"] if example.positives < 5 else [])
        self.live.add(slices, 0 <= example.rank < 10)
        for name in slices:
            self._metrics.live_hits(10, name, self.live.slices[name].ratio)
