"""Precomputing: the lists of a scorer's table, made in a thread of their own, one at a time, in a share of its time.

What it saves is told from what was measured: the processor time that answers of the same task took lately where they
were made when asked, less that of the look-up; beside it what making lists took.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from store.histories import UserRow
from store.requests import Request, Task
from store.settings import Precomputed
from stream.metrics.table_metrics import TableMetrics
from stream.serving.time_share import TimeShare
from trainer.recommender import Recommender
from trainer.tables.lists import Computed
from trainer.tables.questions import Question
from trainer.tables.table import Found, Table, TableRules

log = logging.getLogger(__name__)

TURN_S = 0.1
"""How long it waits where nothing is due, or where its share of the time is spent."""
PLAN_S = 1.0
"""So long one look at what is due is followed; then what is asked most may have changed."""
RESTS_S = 10.0
"""So long it rests after a failure: what fails once may fail each time."""
COST_MEMORY = 0.05
"""What the newest cost of an answer counts in the mean."""
OFF = Found()


class Precomputing:
    """The table of one recommender. With a `share` of 0 there is none, and nothing is found."""

    def __init__(self, settings: Precomputed, recommender: Recommender, metrics: TableMetrics) -> None:
        rules = TableRules(lists=settings.lists, length=settings.length, max_age_s=settings.max_age_s)
        self.table = Table(recommender, rules)
        self._on = settings.share > 0
        self._metrics = metrics
        self._share = TimeShare(settings.share)
        self._costs_s: dict[Task, float] = {}
        self._plan: Iterator[Question] = iter(())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tables") if self._on else None

    # ---- asked first ----

    def find(self, request: Request, user: UserRow | None, *, degraded: bool = False) -> Found:
        """The answer of the table, if it has one."""
        if not self._on:
            return OFF
        began_s = time.thread_time()
        found = self.table.find(request, user, degraded=degraded)
        cost_s = time.thread_time() - began_s
        if found.served is not None:
            saved_s = max(0.0, self._costs_s.get(request.task, 0.0) - cost_s)
            self._metrics.answered(request.task, age_s=found.age_s, saved_s=saved_s)
        else:
            self._metrics.passed(request.task, _why(found))
        return found

    def took(self, found: Found, cost_s: float) -> None:
        """An answer to what a list might have answered took so much processor time."""
        if found.question is not None:
            task = found.question.task
            known_s = self._costs_s.get(task, cost_s)
            self._costs_s[task] = known_s + COST_MEMORY * (cost_s - known_s)

    # ---- kept ----

    async def run(self, caught_up: asyncio.Event) -> None:
        """Keeps the lists, until cancelled."""
        await caught_up.wait()
        if not self._on:
            return
        self.table.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fade_always())
            group.create_task(self._compute_always())

    async def _fade_always(self) -> None:
        while True:
            await asyncio.sleep(self.table.rules.max_age_s)
            self.table.demand.fade()

    async def _compute_always(self) -> None:
        plan_ends_s = 0.0
        while True:
            self.table.follow()
            self._metrics.held(len(self.table), self.table.bytes)
            if time.monotonic() >= plan_ends_s:
                self._plan, plan_ends_s = self.table.due(), time.monotonic() + PLAN_S
            if not (self._share.free() and await self._next()):
                await asyncio.sleep(TURN_S)

    async def _next(self) -> bool:
        """Makes one list; False if none is due."""
        try:
            with self._share:
                made = await asyncio.get_running_loop().run_in_executor(self._thread, self._compute)
        except Exception:
            log.exception("a list was not made; requests are answered as they come")
            await asyncio.sleep(RESTS_S)
            return False
        if made is not None:
            self.table.put(*made)
        return made is not None

    def _compute(self) -> tuple[Question, Computed] | None:
        """In the thread."""
        began_s = time.thread_time()
        question = next(self._plan, None)
        computed = None if question is None else self.table.compute(question)
        self._metrics.spent(time.thread_time() - began_s)
        return None if question is None or computed is None else (question, computed)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)


def _why(found: Found) -> str:
    """Why a request goes the usual way: one of `stream.metrics.table_metrics.PASSED`."""
    if found.question is None:
        return "personal"
    return "explored" if found.explores else "missing"
