"""Event-loop load: whether the loop has time to spare, measured by how late it wakes a task.

A probe task sleeps again and again, and notes how late it is woken. A loop that always has something to do wakes it
after a turn of everything else; one that waits for work wakes it at once. The median of the last few probes decides, so
that neither one long turn in a quiet time nor one lucky moment under load does.

Invariant: `has_time` is at most `PROBES * PROBE_S` seconds behind the truth.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque

PROBE_S = 0.02
PROBES = 7
LATE_S = 0.002
"""So late a probe may be: an absorbing partition, or a broadcast's turn, takes more."""


class EventLoopLoad:
    """`has_time` says it of the event loop that runs `run`; before that, and at first, there is none."""

    def __init__(self) -> None:
        self._late_s: deque[float] = deque([1.0] * PROBES, PROBES)

    @property
    def has_time(self) -> bool:
        """Whether more than half of the last probes woke in time."""
        return statistics.median(self._late_s) < LATE_S

    async def run(self) -> None:
        """Measures until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + PROBE_S
            await asyncio.sleep(PROBE_S)
            self._late_s.append(clock() - due)
