"""Turns: one thread answers, in the order in which requests come. For what waits when its turn begins all items are
looked at, and the model is asked, together: both cost several requests little more than one. All else is done request
by request, and each is told of its answer at once.

Invariants: a request that fails takes no other with it; nothing is answered for who no longer waits; a turn is answered
by one checkpoint.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field

from store.histories import UserRow
from store.requests import Request
from trainer.answers import Served
from trainer.candidate_ranking import Ahead
from trainer.recommender import Recommender

MOST_TOGETHER = 4
"""Of a turn: the first waits for what is done for all."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What `Recommender.answer` is asked."""

    request: Request
    user: UserRow | None
    _: KW_ONLY
    degraded: bool = False
    due_s: float = math.inf
    explores: bool | None = None


Made = tuple[Served, float]
"""An answer and the seconds of a processor that it took."""


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A request, and who waits for its answer."""

    ask: Ask
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    told: asyncio.Future[Made] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def tell(self, outcome: Made | BaseException) -> None:
        """From the answering thread."""
        self.loop.call_soon_threadsafe(self._settle, outcome)

    def _settle(self, outcome: Made | BaseException) -> None:
        if self.told.done():
            return
        if isinstance(outcome, BaseException):
            self.told.set_exception(outcome)
        else:
            self.told.set_result(outcome)


class Turns:
    """The answering thread of one recommender. All methods belong to one event loop."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self._waiting: deque[Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answer")

    async def answer(self, ask: Ask) -> Made:
        """The answer, when its turn has come."""
        waiting = Waiting(ask)
        self._waiting.append(waiting)
        self._thread.submit(self._turn)  # one for each request: a turn that others have answered finds nothing
        return await waiting.told

    def _turn(self) -> None:
        if not (some := self._next()):
            return
        began_s = time.thread_time()
        try:
            ahead = self._ahead(some)
        except Exception:  # whose fault it is shows when each is answered alone
            ahead = {}
        shared_s = (time.thread_time() - began_s) / len(some)
        for one in some:
            one.tell(self._made(one.ask, ahead.get(one), shared_s))

    def _next(self) -> list[Waiting]:
        """Who has waited longest, and still does."""
        some: list[Waiting] = []
        while self._waiting and len(some) < MOST_TOGETHER:
            one = self._waiting.popleft()
            if not one.told.done():
                some.append(one)
        return some

    def _ahead(self, some: list[Waiting]) -> dict[Waiting, Ahead | None]:
        """What is found out together, of those for whom there is time to ask a model."""
        in_time = [one for one in some if time.monotonic() <= one.ask.due_s]
        found = self._recommender.ahead([(one.ask.request, one.ask.user) for one in in_time])
        return dict(zip(in_time, found, strict=True))

    def _made(self, ask: Ask, ahead: Ahead | None, shared_s: float) -> Made | Exception:
        began_s = time.thread_time()
        try:
            served = self._recommender.answer(
                ask.request, ask.user, degraded=ask.degraded, due_s=ask.due_s, explores=ask.explores, ahead=ahead
            )
        except Exception as error:
            return error
        return served, shared_s + time.thread_time() - began_s

    def close(self) -> None:
        """Who still waits is cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for one in self._waiting:
            one.told.cancel()
