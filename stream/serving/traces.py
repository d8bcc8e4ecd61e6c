"""Traces: when each item reached each stage in this scorer, for `sidestream trace` and for people.

Times are wall time in epoch seconds; only the newest items are remembered, across restarts where there is a file. Of
items that are not in the catalogue only their first engagement is known, and fewer of them are remembered: there is no
end to the ids that a crawler invents.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from store.items import ItemCard
from store.requests import Answer
from stream.serving.trace_file import Times, TraceFile

STAGES = ("published", "semantic_id", "live", "first_recommended", "first_engaged")


class Traces:
    """Stages by item, bounded to the `limit` newest items, and to `most_strangers` that are not in the catalogue."""

    def __init__(self, file: TraceFile | None = None, limit: int = 50_000, most_strangers: int = 5_000) -> None:
        self._file = file
        self._limit = limit
        self._most_strangers = most_strangers
        self._times: OrderedDict[str, Times] = OrderedDict()
        self._strangers: OrderedDict[str, Times] = OrderedDict()
        for item_id, times in file.read() if file is not None else ():
            self._times.pop(item_id, None)
            self._strangers.pop(item_id, None)
            (self._times if "live" in times else self._strangers)[item_id] = times
        self._forget()

    def live(self, card: ItemCard) -> None:
        """The item is in the catalogue. A start reads cards again: then it has been since before."""
        times = self._times.setdefault(card.item_id, self._strangers.pop(card.item_id, {}))
        before, published = dict(times), card.published_at_ms / 1000
        if times.get("published") != published:
            times |= {"published": published, "live": time.time()}
        times["semantic_id"] = card.assigned_at
        self._forget()
        if times != before:
            self._keep(card.item_id, times)

    def recommended(self, answer: Answer) -> None:
        for item in answer.items:
            if item.item_id in self._times:
                self._first(item.item_id, self._times[item.item_id], "first_recommended")

    def engaged(self, item_id: str) -> None:
        times = self._times.get(item_id)
        if times is None:
            times = self._strangers.setdefault(item_id, {})
            self._forget()
        self._first(item_id, times, "first_engaged")

    def of(self, item_id: str) -> list[dict[str, object]]:
        """`[{"stage", "at"}]`, `at` None for a stage that has not been reached (or was where nothing was kept)."""
        times = self._times.get(item_id) or self._strangers.get(item_id, {})
        return [{"stage": stage, "at": times.get(stage)} for stage in STAGES]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _first(self, item_id: str, times: Times, stage: str) -> None:
        if stage not in times:
            times[stage] = time.time()
            self._keep(item_id, times)

    def _keep(self, item_id: str, times: Times) -> None:
        if self._file is not None and (item_id in self._times or item_id in self._strangers):
            self._file.add(item_id, times, (self._times, self._strangers))

    def _forget(self) -> None:
        for remembered, most in ((self._times, self._limit), (self._strangers, self._most_strangers)):
            while len(remembered) > most:
                remembered.popitem(last=False)
