"""Publication pace: how many rows a second a worker may publish, by what publishing costs on this machine.

Rows wait and travel with more changes, so that publishing takes a bounded share of the event loop's time however fast
they change, and however fast the machine is. What a row costs is measured at every publication.

Invariant: `rows_per_s` times the newest cost of a row is the share, up to smoothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")

SMOOTHING = 0.2
"""Weight of the newest publication."""
FEWEST_ROWS = 20
"""A publication of fewer says more of what a publication costs than of what a row does."""


class PublicationPace:
    """`time_share`: the part of the event loop's time that publishing may take; `rows_per_s` before it is measured."""

    def __init__(self, time_share: float, rows_per_s: float) -> None:
        self._time_share = time_share
        self._row_s = time_share / rows_per_s

    @property
    def rows_per_s(self) -> float:
        return self._time_share / self._row_s

    def measured(self, rows: int, busy_s: float) -> None:
        """Takes note that publishing so many rows kept the event loop busy for so long."""
        if rows >= FEWEST_ROWS and busy_s > 0.0:
            self._row_s += SMOOTHING * (busy_s / rows - self._row_s)


class BusyTime(Generic[Result]):
    """Awaits something and counts in `busy_s` the processor time that it took of the event loop; while it waits, others
    work. Processor time: what other processes do meanwhile is not its cost."""

    def __init__(self, work: Awaitable[Result], clock: Callable[[], float] = time.thread_time) -> None:
        self.busy_s = 0.0
        self._work = work
        self._clock = clock

    def __await__(self) -> Generator[Any, Any, Result]:
        steps = self._work.__await__()
        failure: BaseException | None = None
        while True:
            began = self._clock()
            try:
                waited_for = next(steps) if failure is None else steps.throw(failure)
            except StopIteration as end:
                result: Result = end.value
                return result
            finally:
                self.busy_s += self._clock() - began
            try:
                failure = None
                yield waited_for
            except BaseException as error:
                failure = error
