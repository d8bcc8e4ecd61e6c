"""Announced: what `checkpoints` has said of models and rankers, as far as a scorer must remember it.

Invariant: memory is bounded, whatever is announced; what is spared is never forgotten.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection

from store.checkpoints import SERVABLE, CheckpointRecord, RankerRecord

FORMER = 100
"""So many of the newest records that ask for a checkpoint are remembered, for when the last one cannot be followed."""
MOST = 200
"""Checkpoints of which the last record is remembered, and when each was announced first."""


class Announced:
    """`records`: the last one of each checkpoint, in the order in which they were first heard of; `targets`: what was
    to serve, oldest first. `spared()`: checkpoints that are remembered beyond `MOST`."""

    def __init__(self, spared: Callable[[], Collection[str]] = tuple) -> None:
        self.records: OrderedDict[str, CheckpointRecord] = OrderedDict()
        self.targets: deque[CheckpointRecord] = deque(maxlen=FORMER)
        self._first_at: dict[str, float] = {}
        self._rankers: deque[RankerRecord] = deque(maxlen=FORMER)
        self._spared = spared

    def checkpoint(self, record: CheckpointRecord) -> bool:
        """Takes in one record; whether it asks for a checkpoint to serve. What shall serve is the last of these."""
        self.records[record.checkpoint] = record
        self._first_at.setdefault(record.checkpoint, record.published_at)
        self._bound()
        if record.action not in ("promote", "rollback") and record.verdict not in SERVABLE:
            return False
        self.targets.append(record)
        return True

    def _bound(self) -> None:
        if len(self.records) <= MOST:
            return
        asked = {record.checkpoint for record in self.targets}
        spared = {*self._spared(), *asked, next(reversed(self.records))}
        for checkpoint in [one for one in self.records if one not in spared][: len(self.records) - MOST]:
            del self.records[checkpoint], self._first_at[checkpoint]

    def last_target(self, checkpoint: str) -> CheckpointRecord | None:
        """The record by which a checkpoint came to serve."""
        return next((target for target in reversed(self.targets) if target.checkpoint == checkpoint), None)

    def first_at(self, target: CheckpointRecord) -> float:
        """When a checkpoint was announced first (epoch seconds), which is its age, not when somebody returned to it."""
        return self._first_at.get(target.checkpoint, target.published_at)

    def ranker(self, record: RankerRecord) -> None:
        self._rankers.append(record)

    def take_rankers(self) -> list[RankerRecord]:
        """The rankers that were announced since this was last asked, newest first."""
        found = [*self._rankers][::-1]
        self._rankers.clear()
        return found
