"""History: the last hour of a worker in memory, one sample every few seconds, for whoever looks only now.

A sample is figures with names: `stage/…` (seconds), `canary/…` (age, seconds), `lag/…` (events), `rate/…` (events a
second), `answers/…` (seconds, and a second) and `hits/…` (shares). They are what `/v1/status` says at that moment, and
how long answers took since the sample before.

Invariant: at most `SAMPLES` samples of at most `MOST_SERIES` figures are kept. A figure that was not known at a sample
is null there; a time without samples (the process stood still) is a gap between their times.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from stream.metrics.metrics import Metrics
from stream.web.console.latencies import Latencies

INTERVAL_S = 5.0
SAMPLES = 720
MOST_SERIES = 100


class Sample(NamedTuple):
    """What was so at a time (epoch seconds); `number` counts the samples of this process."""

    number: int
    at: float
    figures: Mapping[str, float]


class History:
    """Of one process, which `process` names: numbers of another one mean other samples. `status`: as `Service` gives
    it."""

    def __init__(
        self,
        status: Callable[[], Mapping[str, Any]],
        metrics: Metrics,
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.process = uuid.uuid4().hex[:12]
        self.interval_s = interval_s
        self._status = status
        self._latencies = Latencies(metrics.registry)
        self._clock = clock
        self._taken_at = clock()
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._objectives: dict[str, float] = {}
        self.next = 0

    def take(self) -> None:
        """Adds a sample of now."""
        now, status = self._clock(), self._status()
        passed_s = max(now - self._taken_at, 0.1)  # a clock may go back
        known = dict(list(self._figures(status, passed_s))[:MOST_SERIES])
        figures = {name: float(f"{value:.4g}") for name, value in known.items() if value is not None}
        self._samples.append(Sample(self.next, now, figures))
        self._objectives = dict(_objectives(status))
        self._taken_at, self.next = now, self.next + 1

    def _figures(self, status: Mapping[str, Any], passed_s: float) -> Iterator[tuple[str, float | None]]:
        for stage in status["stages"]:
            yield f"stage/{stage['stage']}", stage["value_s"]
            if stage.get("canary"):
                yield f"canary/{stage['stage']}", stage["canary"]["age_s"]
        for topic, lag in status["lag"].items():
            yield f"lag/{topic}", lag["events"]
            yield f"rate/{topic}", status["events_per_s"].get(topic, 0.0)
        for name, value in self._latencies.look(passed_s).items():
            yield f"answers/{name}", value
        for name, ratio in status["live_hit_ratio"].items():
            yield f"hits/{name}", ratio

    def since(self, process: str = "", number: int = 0) -> dict[str, Any]:
        """The samples from `number` on, in columns; of another process all. `next` is what to ask for then."""
        first = number if process == self.process else 0
        samples = [sample for sample in self._samples if sample.number >= first]
        names = sorted({name for sample in samples for name in sample.figures})
        return {
            "process": self.process,
            "next": self.next,
            "interval_s": self.interval_s,
            "keeps_s": SAMPLES * self.interval_s,
            "objectives": self._objectives,
            "at": [round(sample.at, 3) for sample in samples],
            "series": {name: [sample.figures.get(name) for sample in samples] for name in names},
        }


def _objectives(status: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for stage in status["stages"]:
        yield f"stage/{stage['stage']}", stage["objective_s"]
        if stage.get("canary"):
            yield f"canary/{stage['stage']}", stage["canary"]["overdue_after_s"]
    for topic, lag in status["lag"].items():
        yield f"lag/{topic}", lag["objective"]
