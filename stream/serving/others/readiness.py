"""Readiness: whether a worker does what it is there for, and if not, what it waits for.

Invariant: a worker says that it is ready only when everything that its role needs has been seen to be there; then it
stays so until it is to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from stream.ingest.assignment import Assignment

Awaited = Callable[[], str]
"""What is waited for; empty when nothing is."""


class Readiness:
    """Of one worker. `caught_up` is set once what every worker of its role knows has been read; `awaited`: what else
    there must be."""

    def __init__(self, caught_up: asyncio.Event, awaited: Awaited, ready: str = "ready") -> None:
        self.draining = False
        self._caught_up = caught_up
        self._awaited = awaited
        self._ready = ready
        self._was_ready = False

    def told(self) -> tuple[bool, str]:
        """Whether it is, and the reason."""
        if self.draining:
            return False, "stopping: ask another worker"
        if not self._was_ready and (reason := self._missing()):
            return False, reason
        self._was_ready = True
        return True, self._ready

    def _missing(self) -> str:
        return self._awaited() if self._caught_up.is_set() else "reading what every scorer knows"


def partitions_of(assignment: Assignment) -> Awaited:
    """A worker that absorbs waits for its partitions and their rows."""

    def awaited() -> str:
        if not assignment.generation:
            return "waiting to be assigned partitions"
        return "" if assignment.restored() else "restoring the rows of its partitions"

    return awaited


def owners_of(partitions: int, owner_urls: Mapping[int, str], answering: Callable[[], Collection[str]]) -> Awaited:
    """A worker that only answers waits for others that absorb: without them it knows nothing of any user."""

    def awaited() -> str:
        absent = [number for number in range(partitions) if number not in owner_urls]
        if absent:
            told = ", ".join(map(str, absent[:8])) + (", …" if len(absent) > 8 else "")
            return f"nobody has announced itself as the owner of partitions {told}: start workers of role ingest or all"
        if not answering():
            return "no owner of a partition answers: start workers of role ingest or all, or see why they are away"
        return ""

    return awaited
