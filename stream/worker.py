"""The worker: the production unit. One process that absorbs its share of the log and answers requests.

Everything lives on one event loop: Faust's agents, the partitions at work, the broadcast, the emitter and the web
application; what takes processor time (encoding text, recommending, loading a checkpoint) runs in threads. The worker
fails as a whole: any part that stops it ends the process with status 1, and the next start goes on from the log.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from store.embeddings import EmbeddingStore
from store.histories import UserRow
from store.items import ItemRow
from store.keys import Owned
from store.rows import RowStore
from store.settings import Settings
from store.topics import ENGAGEMENTS, ITEM_SIGNALS, ITEM_STATES, PROFILES, RECOMMEND_REQUESTS, UPLOADS
from stream.ingest.agents import create_app
from stream.ingest.assignment import Assignment
from stream.ingest.consumer_lag import LagWatch
from stream.ingest.fault import fault_from
from stream.ingest.item_partition import ItemPartition
from stream.ingest.item_side import ItemSide
from stream.ingest.item_vectors import ItemVectors
from stream.ingest.log_watch import LogWatch
from stream.ingest.partition import Partition
from stream.ingest.upload_partition import UploadPartition
from stream.ingest.user_partition import UserPartition
from stream.ingest.user_side import UserSide
from stream.kafka.emitter import Emitter
from stream.kafka.topics import check_topics, describe_topics
from stream.metrics.event_loop_load import EventLoopLoad
from stream.metrics.metrics import Metrics
from stream.serving.broadcast import Broadcast
from stream.serving.scorer import Scorer
from stream.serving.service import WorkerService
from stream.web.request_partition import RequestPartition
from stream.web.server import WebServer
from trainer.content.encoders import text_encoder
from trainer.rules import embedding_rules, history_rules, item_rules

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 8.0
SWITCH_S = 0.0005
"""The event loop gives up the interpreter with every system call and, beside a thread that computes an answer, gets it
back only after this: Python's 5 ms would leave it a few calls a second."""
AT_LEISURE = 3.0
"""So many times as many item rows are published while the event loop has time: after a burst it shows sooner."""
GARBAGE = (20_000, 20, 20)
"""What is made for each engagement lives long or goes by itself: Python's 700 objects between two looks for cycles cost
a tenth of all."""


class Worker:
    """One worker. `start` returns when it takes part in the group; `failed` is set when a part of it has stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        self._folder = Path(settings.data_dir)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._fault = fault_from(os.environ)
        self._leisure = EventLoopLoad()
        self._encoder = text_encoder(settings.content.encoder)
        self.emitter = Emitter(settings)
        self.scorer = Scorer(settings, self.metrics, self._encoder, self.emitter)
        self.assignment = Assignment(self._factories(), {PROFILES: ENGAGEMENTS}, self.fail)
        self.scorer.heal_with(self._heal, self._announced)
        self.scorer.swaps.on_codebook = self._reassign
        self.service = WorkerService(settings, self.scorer, self.assignment, self.metrics, self.emitter)
        self._app = create_app(settings, self.assignment, str(self._folder / "faust"))
        self._broadcast = Broadcast(settings, self.scorer.handlers(), {ITEM_STATES: self.scorer.on_passed_row})
        self.service.caught_up = self._broadcast.caught_up
        serving = settings.serving
        self._web = WebServer(self.service, self.metrics, serving.host, serving.port, self.service.routes())
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where this worker answers, as others reach it."""
        return self.service.url

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._web.start()
        self.service.url = self.settings.serving.advertise or self._web.url
        await self.emitter.start()
        await self.service.start()
        self._supervise("broadcast", self._broadcast.run())
        self._supervise("swaps", self.scorer.swaps.run(self._broadcast.caught_up))
        self._supervise("upkeep", self.scorer.upkeep.run(self._broadcast.caught_up))
        self._supervise("lag", LagWatch(self.settings, self.metrics).run())
        self._supervise("log", LogWatch(self.settings, self.assignment.reached).run())
        await self._app.start()
        self._supervise("faust", self._watch_app())
        self._supervise("leisure", self._leisure.run())

    async def stop(self) -> None:
        """Stops in the order of the flow: nothing new comes in, what is in flight is left to the log."""
        await self._app.stop()
        await self.assignment.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._web.stop()
        await self.service.stop()
        await self.emitter.stop()
        self.scorer.close()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def fail(self, error: BaseException) -> None:
        """Notes what stopped a part; the process ends soon after."""
        self.failure = self.failure or error
        self.failed.set()

    def _supervise(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                log.error("%s stopped: %r", name, task.exception())
                self.fail(task.exception() or RuntimeError(name))

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)

    async def _watch_app(self) -> None:
        while not self._app.crashed:
            await asyncio.sleep(0.5)
        raise RuntimeError(f"faust crashed: {self._app.crash_reason!r}")

    def _factories(self) -> dict[str, Callable[[int], Partition]]:
        return {
            UPLOADS: self._upload_partition,
            ENGAGEMENTS: self._user_partition,
            ITEM_SIGNALS: self._item_partition,
            RECOMMEND_REQUESTS: self._request_partition,
        }

    def _upload_partition(self, number: int) -> Partition:
        return UploadPartition(
            number,
            self.settings,
            self.emitter,
            self.metrics,
            self._encoder,
            self.scorer.codebook,
            self.scorer.card,
            self._executor,
            self._fault,
        )

    def _user_partition(self, number: int) -> Partition:
        settings = self.settings
        rows = RowStore(self._folder / "rows" / f"users-{number}", UserRow)
        rules, limits = history_rules(settings), settings.event_limits()
        side = UserSide(number, settings.kafka.partitions, rows, rules, limits)
        rate = partial(self._rows_per_s, ENGAGEMENTS, 0.5)
        return UserPartition(
            side, settings, self.emitter, self.metrics, self.scorer, self._generation, rate, self._fault
        )

    def _item_partition(self, number: int) -> Partition:
        rows = RowStore(self._folder / "rows" / f"items-{number}", ItemRow)
        side = ItemSide(number, rows, item_rules(self.settings), self._item_vectors(number))
        rate = partial(self._rows_per_s, ITEM_SIGNALS)
        settings, emitter = self.settings, self.emitter
        return ItemPartition(side, settings, emitter, self.metrics, self._generation, rate, self.url, self._fault)

    def _item_vectors(self, number: int) -> ItemVectors:
        recommender = self.scorer.recommender
        vectors = EmbeddingStore(self._folder / "rows" / f"vectors-{number}", embedding_rules(self.settings))
        vectors.sweep()  # now, while nobody waits: what expires later reads as absent until the next start
        owns = Owned(number, self.settings.kafka.partitions).__getitem__
        return ItemVectors(vectors, owns, recommender.published, recommender.rules.vectors)

    def _request_partition(self, number: int) -> Partition:
        return RequestPartition(number, self.settings, self.emitter, self.metrics, self.service)

    def _rows_per_s(self, agent: str, share: float = 1.0) -> float:
        """One partition's part of the rows that this worker may publish for an agent: more at leisure of what others
        wait for. User rows are for recovery only: their owner answers from its own."""
        if agent == ITEM_SIGNALS and self._leisure.has_time:
            share *= AT_LEISURE
        return share * self.settings.store.published_rows_per_s / max(1, self.assignment.count(agent))

    def _generation(self) -> int:
        return self.assignment.generation

    def _heal(self, number: int, item_id: str, row: ItemRow) -> None:
        partition = self.assignment.get(ITEM_SIGNALS, number)
        if isinstance(partition, ItemPartition):
            partition.heal(item_id, row)

    def _announced(self, number: int, generation: int) -> None:
        partition = self.assignment.get("item-signals", number)
        if isinstance(partition, ItemPartition):
            partition.contradict(generation)

    def _reassign(self) -> None:
        """The codebook has changed: the owner of each item publishes it again under the version that serves."""
        for number in range(self.settings.kafka.partitions):
            partition = self.assignment.get(UPLOADS, number)
            if isinstance(partition, UploadPartition):
                partition.reassign(self.scorer.cards(number))


async def serve(settings: Settings, started: Callable[[Worker], None] = lambda _: None) -> int:
    """Runs a worker until SIGTERM or SIGINT (status 0) or until a part of it fails (status 1)."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    worker = Worker(settings)
    await worker.start()
    started(worker)
    waits = [asyncio.create_task(event.wait()) for event in (stop, worker.failed)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    status = 1 if worker.failure is not None else 0
    if worker.failure is not None:
        log.error("the worker failed: %r", worker.failure)
    end_at_last(status)
    await worker.stop()
    return status


def end_at_last(status: int, seconds: float = STOP_TIMEOUT_S) -> None:
    """Ends the process after `seconds` whatever still runs: a broker that is gone must not keep a worker from stopping,
    and the log holds everything that it leaves."""

    def end() -> None:
        log.error("not stopped in %s s: ending now, the log holds the rest", seconds)
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def run_worker(settings: Settings, started: Callable[[Worker], None] = lambda _: None) -> int:
    """The process of one worker; returns its exit status. The topics' own partition count overrides the settings'."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*GARBAGE)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    states = describe_topics(settings)
    check_topics(states, settings)
    partitions = next(state.partitions for state in states if state.name == ENGAGEMENTS)
    kafka = msgspec.structs.replace(settings.kafka, partitions=partitions)
    return asyncio.run(serve(msgspec.structs.replace(settings, kafka=kafka), started))
