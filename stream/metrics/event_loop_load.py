"""Leisure: whether the event loop has time to spare.

A task asks to be woken again and again, and notes how late it is. A loop that always has something to do wakes it after
a turn of everything else; one that waits for work wakes it at once. The middle one of the last few decides, so that one
long turn in a quiet time is no hurry, nor one lucky moment under load leisure.

Invariant: what waits for leisure may be wrong by `BEATS * BEAT_S` seconds, no more.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import deque

BEAT_S = 0.02
BEATS = 7
LATE_S = 0.002
"""So late a beat may be: an absorbing partition, or a broadcast's turn, takes more."""


class EventLoopLoad:
    """`has_time` says it of the event loop that runs `run`; before that, and at first, there is none."""

    def __init__(self) -> None:
        self._late_s: deque[float] = deque([1.0] * BEATS, BEATS)

    @property
    def has_time(self) -> bool:
        """Whether more than half of the last beats came in time."""
        return statistics.median(self._late_s) < LATE_S

    async def run(self) -> None:
        """Beats until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self._late_s.append(clock() - due)
