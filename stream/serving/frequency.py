"""Frequency: how often a user got an answer of a task that has a bound (`serving.tasks.TASK.most_per_day`).

It is remembered by the worker that gives the answers, and in the user's row, so that it is known after a restart, by
the next owner of the user and by whoever has a copy of the row. Not known are those of the last seconds before a stop,
of which no row was written, and what a worker answered from its copy while the owner was away.

Invariant: of a task without a bound nothing is remembered; an answer without items does not count.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping

from store.events import DAY_S
from store.histories import UserRow, joined_times
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
        self.told: Callable[[str, Task, float, int], None] = lambda *_: None
        """Hears of each answer that counts: the user, the task, the time and how many are allowed a day."""
        self._answered: OrderedDict[tuple[str, Task], deque[float]] = OrderedDict()

    def spent(self, request: Request, user: UserRow | None = None) -> Note | None:
        """The note of an answer that must be empty, as the user has had as many as a day may bring. `user`: the row."""
        most, since_s = self._most.get(request.task, 0), self._clock() - DAY_S
        if not most:
            return None
        known = () if user is None else user.answered.get(request.task, ())
        times = joined_times(self._answered.get((request.user_id, request.task), ()), known)
        if sum(at_s > since_s for at_s in times) < most:
            return None
        return Note(reason="capped", text=f"the user has had {most} of these in the last 24 hours")

    def count(self, request: Request, lines: int, answered_at: float = 0.0) -> float:
        """An answer of so many lines was given: now, or by another worker at `answered_at`. Returns when (epoch
        seconds), 0 where it does not count: two workers that count one answer must say the same of it."""
        most = self._most.get(request.task, 0)
        if not most or not lines or not request.user_id:
            return 0.0
        key, at_s = (request.user_id, request.task), answered_at or self._clock()
        self.told(request.user_id, request.task, at_s, most)
        self._answered.setdefault(key, deque(maxlen=most)).append(at_s)
        self._answered.move_to_end(key)
        if len(self._answered) > self._most_users:
            self._answered.popitem(last=False)
        return at_s

    def forget(self, user_id: str) -> None:
        """Nothing of a user is left."""
        for key in [key for key in ((user_id, task) for task in self._most) if key in self._answered]:
            del self._answered[key]
