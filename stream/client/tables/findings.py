"""Findings: what is to be known of a file of events before any of it is sent.

Each event is judged by the very functions that the workers judge it by (`stream.client.admission`). What takes a look
at all of them together (ids that come twice, items that nobody uploads) is counted from eight bytes an id.

Invariant: every event is accepted or refused, and nothing is held but the first refusals and some 24
bytes an event.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from store.events import Decoded, Limits
from store.keys import hash64
from store.topics import ENGAGEMENTS, TIME_FIELDS, UPLOADS, EventTopic
from stream.client.admission import Event, InvalidEventError, judged

REPORTED = 100
"""So many refusals are told one by one."""
SHOWN = 5
"""Rows that are named as examples."""
EARLY_S = 946_684_800.0
"""The year 2000: an event from before it has more likely a wrong unit."""


@dataclass(slots=True)
class Refused:
    """A row that would be refused, and how to mend it."""

    row: int
    reason: str
    field: str
    remedy: str


@dataclass(slots=True)
class Findings:
    """What was found so far. Times in epoch seconds; `now` is when the check began."""

    topic: EventTopic
    limits: Limits
    now: float = field(default_factory=time.time)
    accepted: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refusals: list[Refused] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    earliest: float | None = None
    latest: float | None = None
    ahead: int = 0
    most_ahead_s: float = 0.0
    early: int = 0
    _rows: array[int] = field(default_factory=lambda: array("Q"))
    _ids: array[int] = field(default_factory=lambda: array("Q"))
    _items: array[int] = field(default_factory=lambda: array("Q"))

    def judge(self, row: int, event: Event) -> None:
        """Takes the event of one row."""
        try:
            value, decoded = judged(self.topic, event, self.limits, self.now)
        except InvalidEventError as error:
            self.refuse(Refused(row, error.reason, error.field, error.remedy))
        else:
            self._accept(row, event, value, decoded)

    def refuse(self, refused: Refused) -> None:
        self.refused += 1
        self.reasons[refused.reason] += 1
        if len(self.refusals) < REPORTED:
            self.refusals.append(refused)

    def _accept(self, row: int, event: Event, value: bytes, decoded: Decoded[Any]) -> None:
        found = decoded.events[0]
        self.accepted += 1
        self.dropped.update(decoded.dropped)
        self._rows.append(row)
        if self.topic == ENGAGEMENTS:
            self.kinds[found.kind] += 1
            self._items.append(hash64(found.item_id))
            self._ids.append(hash64(f"{found.user_id}\0{found.event_id}"))
        else:
            self._ids.append(hash64(found.item_id if self.topic == UPLOADS else found.user_id))
        self._see(self._said(event, value))

    def _said(self, event: Event, value: bytes) -> float:
        """The time as the event says it; a decoded one is set back to now."""
        import msgspec

        fields = event if isinstance(event, dict) else msgspec.json.decode(value)
        return float(fields[TIME_FIELDS[self.topic]])

    def _see(self, at: float) -> None:
        self.earliest = at if self.earliest is None else min(self.earliest, at)
        self.latest = at if self.latest is None else max(self.latest, at)
        self.early += at < EARLY_S
        if at > self.now:
            self.ahead += 1
            self.most_ahead_s = max(self.most_ahead_s, at - self.now)

    def repeated(self) -> tuple[int, list[int]]:
        """How many events bear an id that an earlier one bears (an item's, a user's, an engagement's of its user), and
        some of their rows."""
        ids_N = np.frombuffer(self._ids, np.uint64) if self._ids else np.empty(0, np.uint64)
        order_N = np.argsort(ids_N, kind="stable")
        again_N = np.zeros(len(ids_N), bool)
        again_N[order_N[1:]] = ids_N[order_N[1:]] == ids_N[order_N[:-1]]
        return self._counted(again_N)

    def never_uploaded(self, uploaded: np.ndarray) -> tuple[int, int, list[int]]:
        """Engagements whose item's hash is not among `uploaded`: how many, of how many items, some rows."""
        items_N = np.frombuffer(self._items, np.uint64) if self._items else np.empty(0, np.uint64)
        unknown_N = ~np.isin(items_N, uploaded)
        count, rows = self._counted(unknown_N)
        return count, len(np.unique(items_N[unknown_N])), rows

    def _counted(self, marked_N: np.ndarray) -> tuple[int, list[int]]:
        rows_N = np.frombuffer(self._rows, np.uint64) if self._rows else np.empty(0, np.uint64)
        return int(marked_N.sum()), [int(row) for row in rows_N[marked_N][:SHOWN]]

    def uploaded(self) -> np.ndarray:
        """The hashes of the items of a file of uploads."""
        return np.array(self._ids, np.uint64)
