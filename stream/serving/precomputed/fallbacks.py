"""Fallbacks: what is answered in place of an answer that is late or fails, where the settings of its task name it.

An answer that is not there when its time is over (`within_ms`) is given up: one that still waits for its turn is not
made at all, which leaves its place to others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from store.histories import UserRow
from store.requests import Note, Request, Task
from store.settings import Fallback
from stream.metrics.surface_metrics import SurfaceMetrics
from trainer.answers import Served
from trainer.recommender import Recommender
from trainer.tables.fallback import fallback_answer
from trainer.tables.lists import Listed

log = logging.getLogger(__name__)

TEXTS: Mapping[str, str] = {
    "late": "the answer was not there after {within_ms} ms: what is popular instead",
    "failed": "the answer could not be made (the worker's log says why): what is popular instead",
}


class Fallbacks:
    """By task. `listed`: the list of the question that a request asks, if one is at hand."""

    def __init__(
        self,
        of_task: Mapping[Task, Fallback],
        recommender: Recommender,
        metrics: SurfaceMetrics,
        listed: Callable[[Request], Listed | None],
    ) -> None:
        self._of_task = of_task
        self._recommender = recommender
        self._metrics = metrics
        self._listed = listed

    async def or_else(
        self, making: Coroutine[Any, Any, Served], request: Request, user: UserRow | None, due_s: float
    ) -> Served:
        """What `making` gives, or the fallback of its task if it does not give it by `due_s` (`time.monotonic`), or
        fails."""
        kind = self._of_task.get(request.task, "none")
        if kind == "none":
            return await making
        cause = "late"
        try:
            return await asyncio.wait_for(making, None if math.isinf(due_s) else due_s - time.monotonic())
        except TimeoutError:
            self._metrics.late("ranking")
        except Exception:
            log.exception("an answer could not be made; %s is answered instead", kind)
            cause = "failed"
        self._metrics.fell_back(request.task, cause)
        note = Note(reason="fallback", text=TEXTS[cause].format(within_ms=request.within_ms))
        listed = self._listed(request) if kind == "table" else None
        return fallback_answer(self._recommender, request, user, note, listed)
