"""Client noise: what Kafka's clients repeat while a broker is away is said once, by who knows what it means.

In an outage of three minutes the clients of one worker wrote 7,400 errors. While an `Outage` that sidestream itself
tells of lasts, they are left out; else one a minute is let through, with how many there were.

Invariant: errors of sidestream's own, and whatever the clients say below ERROR where somebody asked for it, pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from store.reporting.outages import MARK

CLIENTS = ("aiokafka", "kafka", "faust", "mode")
EVERY_S = 60.0


class ClientNoise(logging.Filter):
    """A filter for the handler of a process's log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._outages: set[str] = set()
        self._told_at = -EVERY_S
        self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if (outage := getattr(record, MARK, None)) is not None:
            what, lasts = outage
            (self._outages.add if lasts else self._outages.discard)(what)
            return True
        if record.name.partition(".")[0] not in CLIENTS or record.levelno < logging.ERROR:
            return True
        return not self._outages and self._passes(record)

    def _passes(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        if now - self._told_at < EVERY_S:
            self._untold += 1
            return False
        if self._untold:
            record.msg, record.args = f"{record.getMessage()} ({self._untold} more errors of clients before)", None
        self._told_at, self._untold = now, 0
        return True
