"""Lineage: what `checkpoints` has said, kept for people: each checkpoint, who had it serve and when, and training runs.

`stream.serving.swaps` remembers what shall serve; this remembers how that came about.

Invariant: at most `MOST` checkpoints, acts and runs are kept, the newest.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import msgspec

from store.checkpoints import CheckpointRecord, RunRecord, TrainRequest, decode_record
from store.records.levers import LEVERS

MOST = 200
MOST_STEPS = 50


class Lineage:
    """Follows the records of `checkpoints`, in their order."""

    def __init__(self) -> None:
        self._checkpoints: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._acts: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._runs: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def on_record(self, key: bytes | None, value: bytes | None) -> None:
        """One record; what is no checkpoint, request or run is passed over (`stream.serving.swaps` tells of it)."""
        record = decode_record(key, value)
        if isinstance(record, CheckpointRecord):
            self._on_checkpoint(record)
        elif isinstance(record, TrainRequest) and record.run:
            self._run(record.run)["asked_at"] = record.requested_at
        elif isinstance(record, RunRecord):
            steps = self._run(record.run)["steps"]
            if len(steps) < MOST_STEPS:
                steps.append({**msgspec.to_builtins(record), "ended": record.ended})

    def _on_checkpoint(self, record: CheckpointRecord) -> None:
        known = self._checkpoints.get(record.checkpoint)
        if record.action in LEVERS:
            by = "worker" if record.reason else "person"
            act = {"checkpoint": record.checkpoint, "action": record.action, "at": record.published_at, "by": by}
            self._acts.append({**act, "reason": record.reason})
        first_at = known["published_at"] if known else record.published_at
        gate = known["gate"] if known and record.action in LEVERS else record.verdict
        told = {**msgspec.to_builtins(record), "published_at": first_at, "gate": gate}
        self._checkpoints[record.checkpoint] = {"reasons": [], "codebook": "", "data_until": 0.0, **told}
        while len(self._checkpoints) > MOST:
            self._checkpoints.popitem(last=False)

    def _run(self, run: str) -> dict[str, Any]:
        if run not in self._runs:
            self._runs[run] = {"run": run, "asked_at": None, "steps": []}
            while len(self._runs) > MOST:
                self._runs.popitem(last=False)
        return self._runs[run]

    def checkpoint(self, checkpoint: str) -> dict[str, Any] | None:
        """What is known of one; `gate` is the first verdict, `verdict` the last, which may be a person's."""
        return self._checkpoints.get(checkpoint)

    def told(self) -> dict[str, Any]:
        """All of it, oldest first."""
        return {
            "checkpoints": list(self._checkpoints.values()),
            "acts": list(self._acts),
            "runs": list(self._runs.values()),
        }
