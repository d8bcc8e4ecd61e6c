"""Outcomes: what engagements say of lines that workers have shown, where the worker that absorbs them answers nothing.

Ranking an engagement before it is learned from takes what scorers keep, so it is left to workers of role `all` and to
the trainer's backfill.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from store.events import Engagement
from store.histories import UserRow
from stream.serving.attribution import Attribution


class Outcomes:
    """Implements `stream.ingest.user_partition.Scoring`. `weights`: kind → what it counts for."""

    def __init__(self, attribution: Attribution, weights: Mapping[str, float]) -> None:
        self._attribution = attribution
        self._weights = weights

    def outcome(self, event: Engagement) -> bytes | None:
        """What the engagement says of a line that was shown, if it is of one."""
        return self._attribution.outcome(event, self._weights.get(event.kind, 0.0))

    def examine(self, _event: Engagement, _row_before: Callable[[], UserRow]) -> None:
        """Nothing is ranked here."""
