"""Frequency: how often a user got an answer of a task that has a bound (`serving.tasks.TASK.most_per_day`).

It is remembered by the worker that gives the answers, as a rule the one that owns the user, since its start, for a
bounded number of users: after a restart or a rebalance a user may get as many again.

Invariant: of a task without a bound nothing is remembered; an answer without items does not count.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

from store.events import DAY_S
from store.requests import Note, Request, Task

MOST_USERS = 1_000_000
"""Users and tasks that are remembered; the one that was longest without an answer goes first."""


class Frequency:
    """Answers by user and task within the last 24 hours."""

    def __init__(
        self, most_per_day: Mapping[Task, int], most_users: int = MOST_USERS, clock: Callable[[], float] = time.time
    ) -> None:
        self._most = {task: most for task, most in most_per_day.items() if most}
        self._most_users = most_users
        self._clock = clock
        self._answered: OrderedDict[tuple[str, Task], deque[float]] = OrderedDict()

    def spent(self, request: Request) -> Note | None:
        """The note of an answer that must be empty, as the user has had as many as a day may bring."""
        most = self._most.get(request.task, 0)
        times = self._answered.get((request.user_id, request.task))
        if not most or times is None or len(times) < most or times[0] <= self._clock() - DAY_S:
            return None
        return Note(reason="capped", text=f"the user has had {most} of these in the last 24 hours")

    def count(self, request: Request, lines: int) -> None:
        """An answer of so many lines was given."""
        most = self._most.get(request.task, 0)
        if not most or not lines or not request.user_id:
            return
        key = request.user_id, request.task
        self._answered.setdefault(key, deque(maxlen=most)).append(self._clock())
        self._answered.move_to_end(key)
        if len(self._answered) > self._most_users:
            self._answered.popitem(last=False)

    def forget(self, user_id: str) -> None:
        """Nothing of a user is left."""
        for key in [key for key in ((user_id, task) for task in self._most) if key in self._answered]:
            del self._answered[key]
