"""New engagements: how many have come since some place in the log, asked every few seconds.

Records say little of it: a frame holds many engagements, a canary none, and a quiet night is all canaries. So what has
come since the last time is counted by itself, and added.

Invariant: a quiet time changes the count of what came before it by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from store.envelopes.reading import event_reader
from store.log import Log, Offsets, engagements
from store.settings import Settings
from store.topics import ENGAGEMENTS
from trainer.runs.log_window import range_since

SLICES = 10
"""Places in which a long range is sampled: what is sent changes with time."""


class NewEngagements:
    """Counts, about: of many records only a sample is read."""

    def __init__(self, log: Log, settings: Settings, sample_records: int = 200) -> None:
        self._log = log
        self._settings = settings
        self._sample_records = sample_records
        self._since: Mapping[int, int] | None = None
        self._until: Offsets = {}
        self._held = 0
        self._events = 0.0

    def count(self, since: Mapping[int, int], now: float) -> int:
        """How many engagements lie at or after `since`; `now` is wall time in epoch seconds."""
        _, begin, end = range_since(self._log, self._settings.topic(ENGAGEMENTS), since)
        slices = 1
        if self._since != since or any(at > end.get(p, 0) for p, at in self._until.items()):
            self._since, self._until, self._events, slices = dict(since), begin, 0.0, SLICES
        else:
            self._expire(begin)
        until = {p: max(self._until.get(p, begin[p]), begin[p]) for p in end}
        self._events += self._between(until, end, now, slices)
        self._until, self._held = end, sum(end[p] - begin[p] for p in end)
        return round(self._events)

    def _expire(self, begin: Offsets) -> None:
        """What the broker has deleted meanwhile counts no more: its share of the records."""
        still = sum(max(0, at - begin.get(p, 0)) for p, at in self._until.items())
        if self._held:
            self._events *= min(1.0, still / self._held)

    def _between(self, begin: Offsets, end: Offsets, now: float, slices: int) -> float:
        """About how many engagements lie between two places: records are counted, and their events in small samples,
        one of the end of each of so many slices of the range."""
        topic, reader = self._settings.topic(ENGAGEMENTS), event_reader(self._settings)
        found = 0.0
        for number in range(slices):
            lower = {p: begin[p] + (end[p] - begin[p]) * number // slices for p in end}
            upper = {p: begin[p] + (end[p] - begin[p]) * (number + 1) // slices for p in end}
            held = sum(upper[p] - lower[p] for p in end)
            each = max(1, self._sample_records // slices // len(end))
            starts = {p: max(lower[p], upper[p] - each) for p in end}
            sampled = list(self._log.read(topic, starts, upper)) if held else []
            events = sum(1 for _ in engagements(sampled, now=now, reader=reader))
            found += held * events / max(1, len(sampled))
        return found
