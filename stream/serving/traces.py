"""Traces: when each item reached each stage in this scorer, for `sidestream trace` and for people.

Times are wall time in epoch seconds; only the newest items are remembered.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from store.items import ItemCard
from store.requests import Answer

STAGES = ("published", "semantic_id", "live", "first_recommended", "first_engaged")


class Traces:
    """Stages by item, bounded to the `limit` newest items."""

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = limit
        self._times: OrderedDict[str, dict[str, float]] = OrderedDict()

    def live(self, card: ItemCard) -> None:
        times = self._times.setdefault(card.item_id, {})
        times["published"] = card.published_at_ms / 1000
        times["semantic_id"] = card.assigned_at
        times["live"] = time.time()
        while len(self._times) > self._limit:
            self._times.popitem(last=False)

    def recommended(self, answer: Answer) -> None:
        for item in answer.items:
            self._first(item.item_id, "first_recommended")

    def engaged(self, item_id: str) -> None:
        self._first(item_id, "first_engaged")

    def of(self, item_id: str) -> list[dict[str, object]]:
        """`[{"stage", "at"}]`, `at` None for a stage that has not been reached (or was before this worker started)."""
        times = self._times.get(item_id, {})
        return [{"stage": stage, "at": times.get(stage)} for stage in STAGES]

    def _first(self, item_id: str, stage: str) -> None:
        times = self._times.get(item_id)
        if times is not None:
            times.setdefault(stage, time.time())
