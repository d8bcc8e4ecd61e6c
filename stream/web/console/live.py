"""Live: the state of a worker, pushed to whoever looks, as server-sent events.

A stream tells first what it missed, then what is new: an event `status` is what `/v1/status` answers, `history` the
samples since the last one that this reader has. Nothing is queued for a reader: when one has taken what it was sent,
it is sent what is true then. One that takes nothing for `STUCK_S` is cut off, and asks again with where it stood.

Invariant: at most `MOST_STREAMS` are open, and each holds at most one event that is not on its way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from stream.metrics.metrics import Metrics
from stream.web import parameters
from stream.web.admission import RETRY_AFTER_S, OverloadedError
from stream.web.console.history import History
from stream.web.contract import Health

log = logging.getLogger(__name__)

MOST_STREAMS = 16
TICK_S = 2.5
STUCK_S = 20.0
HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Live:
    """Takes samples, and tells them. `run` does both until it is cancelled."""

    def __init__(self, service: Health, metrics: Metrics, *, tick_s: float = TICK_S, stuck_s: float = STUCK_S) -> None:
        self._service = service
        self._tick_s = tick_s
        self._stuck_s = stuck_s
        self.history = History(service.status, metrics)
        self.open = 0
        self._closed = False
        self._status: dict[str, Any] = {}
        self._ticked = asyncio.Event()

    async def run(self, clock: Callable[[], float] = time.monotonic) -> None:
        """A tick every `tick_s`, a sample every `interval_s`."""
        due = clock()
        while True:
            if clock() >= due:
                self._take()
                due = max(due + self.history.interval_s, clock())  # one that stood still has nothing to make up for
            self.tick()
            await asyncio.sleep(self._tick_s)

    def _take(self) -> None:
        try:
            self.history.take()
        except Exception:  # a fault of ours: without samples the hour has a gap, and everything else goes on
            log.exception("no sample of the history could be taken")

    def tick(self) -> None:
        """What is true now goes to every reader that has taken what was before."""
        if self.open:
            self._status = status_of(self._service)
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    def close(self) -> None:
        """Ends all streams."""
        self._closed = True
        self.tick()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answers `GET /console/events`; `since` is `process:next` of the last history that the reader has."""
        parameters.only(request.query, ("since",))
        process, number = since_in(request)
        if self.open >= MOST_STREAMS:
            raise OverloadedError(f"{self.open} pages follow this worker already: come again in {RETRY_AFTER_S} s")
        self.open += 1
        try:
            return await self._answered(request, process, number)
        finally:
            self.open -= 1

    async def _answered(self, request: web.Request, process: str, number: int) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        with suppress(ConnectionError):
            async for event in self._events(process, number):
                try:
                    async with asyncio.timeout(self._stuck_s):
                        await response.write(event)
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    break
        return response

    async def _events(self, process: str, number: int) -> AsyncIterator[bytes]:
        self._status = self._status or status_of(self._service)
        while not self._closed:
            ticked = self._ticked
            if process != self.history.process or number < self.history.next:
                missed = self.history.since(process, number)
                process, number = missed["process"], missed["next"]
                yield _event("history", missed)
            yield _event("status", self._status)
            await ticked.wait()


def status_of(service: Health) -> dict[str, Any]:
    """What `/v1/status` answers."""
    ready, reason = service.ready()
    return {**service.status(), "ready": ready, "reason": reason, "now": time.time()}


def since_in(request: web.Request) -> tuple[str, int]:
    """Where the reader stands: the process and the number of its next sample; ("", 0) for nowhere."""
    process, _, number = (parameters.once(request.query, "since") or "").partition(":")
    return (process, int(number)) if number.isascii() and number.isdigit() and len(number) < 12 else ("", 0)


def _event(name: str, document: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(document))
