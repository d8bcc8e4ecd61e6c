"""Background jobs: other periodic learning of the trainer, polled between training runs and during them.

Invariant: a job that cannot read its topic does not keep the models from being trained.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from kafka.errors import KafkaError

from store.log import LogError
from store.reporting.outages import Outage

log = logging.getLogger("sidestream.trainer")

_POLL_EVERY_S = 0.5


class BackgroundJob(Protocol):
    """`poll` is called about twice a second, with wall time in epoch seconds, also during training runs; it should
    return within a second."""

    def poll(self, now: float) -> None: ...

    def close(self) -> None: ...


class BackgroundJobs:
    """All of a trainer's."""

    def __init__(self, jobs: Sequence[BackgroundJob]) -> None:
        self._jobs = list(jobs)
        self._away = {id(job): Outage(log, f"{type(job).__name__} waits", "it tries again") for job in self._jobs}
        self._polled_at = 0.0

    def poll(self) -> None:
        """Polls those, if it is time."""
        if time.monotonic() - self._polled_at >= _POLL_EVERY_S:
            for job in self._jobs:
                self._poll(job)
            self._polled_at = time.monotonic()

    def _poll(self, job: BackgroundJob) -> None:
        try:
            job.poll(time.time())
        except (LogError, KafkaError) as error:
            self._away[id(job)].met(error)
        else:
            self._away[id(job)].over()

    def close(self) -> None:
        for job in self._jobs:
            job.close()
