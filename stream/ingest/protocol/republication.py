"""Republication: every row of a partition on its state topic again, some at a time, beside what changes meanwhile.

A person asks for it: a state topic has lost what it held in a way that no start can tell from compaction (a retention
that somebody set), and the rows are on this disk. Rows are staged again in the order of their keys, as they are by
then, and travel with the next publications, at their pace. The position behind the last of them says which request it
answers.

Invariants: what was begun is begun again by the next start from this disk, until all of it is safe; before that no
position is published that vouches for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from store.rows import Position, RowStore
from stream.kafka.emitter_lane import Header
from stream.kafka.state_topics import REPUBLISHED

log = logging.getLogger(__name__)

CHUNK = 2000
"""Rows that are staged for one publication."""


class Republication:
    """One partition's. `topic` is for people. A request is a person's, or "" if the partition found out by itself."""

    def __init__(self, rows: RowStore[Any], topic: str) -> None:
        self._rows = rows
        self._topic = topic
        self._request = self._answered = ""
        self._after: str | None = None
        self._under_way = False
        self._ending = False
        self.staged = 0

    @property
    def under_way(self) -> bool:
        """Whether there is something to stage, or to say."""
        return self._under_way

    def begin(self, request: str = "") -> None:
        """Begins, or begins again; a request that is being answered, or was, changes nothing."""
        if (self._under_way and request == self._request) or (request and request == self._answered):
            return
        log.warning("%s: publishing every row again", self._topic)
        self._rows.position.republish = True
        self._request, self._after, self.staged = request, None, 0
        self._under_way, self._ending = True, False

    def resume(self) -> None:
        """Carries on what an earlier start has not finished."""
        if self._rows.position.republish:
            self.begin()

    def stage(self) -> None:
        """Stages the next rows, unless enough is staged already."""
        if not self._under_way or self._ending or self._rows.staged >= CHUNK:
            return
        keys = self._rows.keys_after(self._after, CHUNK)
        for key in keys:
            if not self._rows.is_staged(key) and (row := self._rows.get(key)) is not None:
                self._rows.stage(key, row)
        self.staged += len(keys)
        if len(keys) < CHUNK:
            self._ending = True
        else:
            self._after = keys[-1]

    def headers(self) -> list[Header]:
        """Of the position that is published behind what was staged: says that this was all."""
        return [(REPUBLISHED, f"{self._request} {self.staged}".encode())] if self._ending else []

    def position(self) -> Position:
        """What the topic may be told of how far this is: nothing, as long as not all rows are there, for whoever came
        back from it would take those that are missing for rows that never were."""
        return Position() if self._under_way and not self._ending else self._rows.position

    def landed(self, headers: Sequence[Header]) -> None:
        """A position with these headers is safe."""
        if headers:
            log.warning("%s: published all %s rows again", self._topic, self.staged)
            self._answered = self._request
            self._under_way = self._ending = False
            self._rows.position.republish = False  # kept with the safe offsets, which comes next
