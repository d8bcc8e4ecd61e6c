"""Outages: something that a process needs is away. One line when that begins, one a minute, one when it ends.

Invariant: however often a failure is met, an outage writes no more lines than that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

MARK = "outage"
"""The attribute of a log record that tells of an outage: (what is away, whether it lasts)."""
EVERY_S = 60.0


class Outage:
    """What is away, in words that "… for 60 s" can follow: "no broker answers". `meaning`: what that does meanwhile."""

    def __init__(
        self, log: logging.Logger, what: str, meaning: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._what = what
        self._meaning = meaning
        self._clock = clock
        self._began_at: float | None = None
        self._told_at = 0.0

    @property
    def lasts(self) -> bool:
        """Whether it goes on."""
        return self._began_at is not None

    def met(self, why: object) -> None:
        """It was met, for the first time or again."""
        now = self._clock()
        if self._began_at is None:
            self._began_at = self._told_at = now
            self._tell(logging.WARNING, f"{self._what} ({why}): {self._meaning}")
        elif now - self._told_at >= EVERY_S:
            self._told_at = now
            self._tell(logging.WARNING, f"{self._what}, for {now - self._began_at:.0f} s now ({why})")

    def over(self) -> None:
        """It is not there, or no more."""
        if self._began_at is not None:
            lasted_s, self._began_at = self._clock() - self._began_at, None
            self._tell(logging.INFO, f"over after {lasted_s:.0f} s: {self._what}")

    def _tell(self, level: int, text: str) -> None:
        self._log.log(level, "%s", text, extra={MARK: (self._what, self.lasts)})
