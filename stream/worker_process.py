"""The process of one worker: how it is set up, which signals stop it, and that it ends at last."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from store.reporting.outages import Outage
from store.settings import Settings, SettingsError, unguarded
from store.topics import ENGAGEMENTS
from stream.absorbing import ROWS
from stream.answering import COPIES
from stream.kafka.access import check_worker
from stream.kafka.connections import BrokerUnavailableError
from stream.kafka.topics import TopicState, check_topics, describe_topics
from stream.tracing.opening import check
from stream.worker import Worker

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 8.0
SWITCH_S = 0.0005
"""The event loop gives up the interpreter with every system call and, beside a thread that computes an answer, gets it
back only after this: Python's 5 ms would leave it a few calls a second."""
GARBAGE = (20_000, 20, 20)
"""What is made for each engagement lives long or goes by itself: Python's 700 objects between two looks for cycles cost
a tenth of all."""


async def serve(settings: Settings, started: Callable[[Worker], None] = lambda _: None) -> int:
    """Runs a worker until SIGTERM or SIGINT (status 0) or until a part of it fails (status 1). After a signal it drains
    for `serving.drain_s`; a second one cuts that short."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    worker = Worker(settings)
    await worker.start()
    started(worker)
    await _first(stop, worker.failed)
    if worker.failure is None:
        worker.drain()
        await _first(hurry, worker.failed, timeout_s=settings.serving.drain_s)
    status = 1 if worker.failure is not None else 0
    if worker.failure is not None:
        log.error("the worker failed: %r", worker.failure)
        await _first_done(stop.wait(), broker_answers(settings))
    end_at_last(status)
    await worker.stop()
    return status


async def broker_answers(settings: Settings) -> None:
    """Returns when a broker answers. A worker that failed because none does goes on answering from what it has:
    to end would leave nobody, for the next one cannot start without a broker."""
    away = Outage(log, "no broker answers", "requests are answered from what is known; starting anew when one does")
    while True:
        try:
            await asyncio.to_thread(describe_topics, settings)
        except BrokerUnavailableError as error:
            away.met(error)
            await asyncio.sleep(1.0)
        else:
            return away.over()


async def _first(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Waits for one of them, `timeout_s` at most."""
    await _first_done(*(event.wait() for event in events), timeout_s=timeout_s)


async def _first_done(*works: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    waits = [asyncio.create_task(work) for work in works]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def end_at_last(status: int, seconds: float = STOP_TIMEOUT_S) -> None:
    """Ends the process after `seconds` whatever still runs: a broker that is gone must not keep a worker from stopping,
    and the log holds everything that it leaves."""

    def end() -> None:
        log.error("not stopped in %s s: ending now, the log holds the rest", seconds)
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _topics_of(settings: Settings) -> list[TopicState]:
    """The topics. A worker that was at work here waits for a broker that is away; a new one says that there is none."""
    away = Outage(log, "the worker cannot start without a broker", "it does as soon as one answers")
    while True:
        try:
            states = describe_topics(settings)
        except BrokerUnavailableError as error:
            if not any((Path(settings.data_dir) / part).exists() for part in (ROWS, COPIES)):
                raise
            away.met(error)
            time.sleep(1.0)
        else:
            away.over()
            return states


def run_worker(settings: Settings, started: Callable[[Worker], None] = lambda _: None) -> int:
    """The process of one worker; returns its exit status. The topics' own partition count overrides the settings'."""
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*GARBAGE)
    if reason := unguarded(settings.serving):
        raise SettingsError(reason)
    check(settings.tracing)
    states = _topics_of(settings)
    check_topics(states, settings)
    check_worker(settings)
    partitions = next(state.partitions for state in states if state.name == ENGAGEMENTS)
    kafka = msgspec.structs.replace(settings.kafka, partitions=partitions)
    return asyncio.run(serve(msgspec.structs.replace(settings, kafka=kafka), started))
