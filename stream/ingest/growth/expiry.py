"""Expiry: rows that nobody has touched for a while go: from memory, from the disk, and from the state topic.

A pass looks at all rows of a partition, some at a time, in a small part of the event loop's time. A row has expired
when the record that last touched it came longer ago than its horizon, by the broker's time, up to the newest record
that this partition has read: where nothing comes, nothing goes. First its end is published (a null value, with the time
up to which it holds), then it is taken from the disk, unless it was touched meanwhile. A row of a release that noted no
time stays until it is touched.

What goes has been safe for long, so no record that it has absorbed is read again: an id that comes back starts anew,
and nothing is counted twice. A copy or an end that a former owner writes late is told by its time
(`stream.ingest.protocol.published_rows`).

Invariant: a row that was touched within its horizon stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from store.rows import RowStore

LOOK_EVERY_S, LOOK_S = 1.0, 0.003
"""A look is so long, at most, and comes with a publication."""
PASS_EVERY_S = 600.0
CHUNK = 50
MOST_DUE = 2000
"""Rows that end with one publication."""


class Expiry:
    """One partition's. `age_of`: offset and time of an encoded row's last record (epoch seconds, 0: not known);
    `horizon_s`: 0 for a key whose row never goes; `remove` takes rows from the disk. `now_s`: the newest time read."""

    def __init__(
        self,
        rows: RowStore[Any],
        age_of: Callable[[bytes], tuple[int, int]],
        horizon_s: Callable[[str], float],
        remove: Callable[[Sequence[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now_s = 0
        self._rows = rows
        self._age_of = age_of
        self._horizon_s = horizon_s
        self._remove = remove
        self._clock = clock
        self._after: str | None = None
        self._next_at = 0.0
        self._due: dict[str, int] = {}

    def observe(self, touched_s: int) -> None:
        """A record of this time was read."""
        self.now_s = max(self.now_s, touched_s)

    def is_over(self, key: str, touched_s: int) -> bool:
        """Whether a row that was last touched then has expired."""
        horizon_s = self._horizon_s(key)
        return horizon_s > 0 and 0 < touched_s < self.now_s - horizon_s

    def look(self) -> None:
        """Looks at the next rows."""
        began = self._clock()
        if began < self._next_at:
            return
        self._next_at = began + LOOK_EVERY_S
        while len(self._due) < MOST_DUE and self._clock() - began < LOOK_S:
            some = self._rows.encoded_after(self._after, CHUNK)
            for key, value in some:
                offset, touched_s = self._age_of(value)
                if self.is_over(key, touched_s) and offset <= self._rows.position.safe:
                    self._due[key] = touched_s
            if len(some) < CHUNK:
                self._after, self._next_at = None, began + PASS_EVERY_S
                return
            self._after = some[-1][0]

    def take(self) -> dict[str, int]:
        """The rows that are to end with the next publication, each with the time before which what touched it has
        gone."""
        due, self._due = self._due, {}
        return {key: touched_s + 1 for key, touched_s in due.items() if not self._rows.is_staged(key)}

    def landed(self, ended: Mapping[str, int]) -> list[str]:
        """The ends of these are safe: their rows go, but for those that were touched meanwhile. Returns which went."""
        gone = [key for key, before_s in ended.items() if self._is_before(key, before_s)]
        if gone:
            self._remove(gone)
        return gone

    def _is_before(self, key: str, before_s: int) -> bool:
        if self._rows.is_staged(key):
            return False
        row = self._rows.get(key)
        return row is not None and row.touched_s < before_s
