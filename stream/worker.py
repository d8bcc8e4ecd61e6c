"""The worker: the production unit. One process that absorbs its share of the log and answers requests.

Everything lives on one event loop: Faust's agents, the partitions at work, the broadcast, the emitter and the web
application; what takes processor time (encoding text, recommending, loading a checkpoint) runs in threads. The worker
fails as a whole: any part that stops it ends the process with status 1, and the next start goes on from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from store.files.crash_points import reached
from store.records.foreign import ForeignRecords
from store.records.republish_request import request_in
from store.security import trust
from store.settings import Settings
from store.topics import (
    CHECKPOINTS,
    ENGAGEMENTS,
    FORGOTTEN_USERS,
    ITEM_SIGNALS,
    ITEM_STATES,
    PROFILES,
    RECOMMEND_REQUESTS,
    UPLOADS,
)
from stream.canaries import Canaries
from stream.ingest.agents import create_app
from stream.ingest.assignment import Assignment, Factory
from stream.ingest.consumer_lag import LagWatch
from stream.ingest.factories import IngestFactories
from stream.ingest.growth.unknown_items import UnknownItems
from stream.ingest.item_owners import ItemOwners
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.upload_partition import Cataloguing
from stream.kafka.emitter import Emitter
from stream.kafka.log_watch import LogWatch
from stream.metrics.event_loop_load import EventLoopLoad
from stream.metrics.metrics import Metrics
from stream.metrics.publication_pace import PublicationPace
from stream.serving.desk.desk import WorkerDesk
from stream.serving.desk.lineage import Lineage
from stream.serving.desk.owners import Owners
from stream.serving.peers import Peers
from stream.serving.reading.broadcast import Broadcast
from stream.serving.reading.standby import Standby
from stream.serving.scorer import Scorer
from stream.serving.service import WorkerService
from stream.serving.trace_file import TraceFile
from stream.serving.traces import Traces
from stream.tracing.opening import open_export
from stream.tracing.stages import Stages
from stream.web.console.desk_routes import desk_routes
from stream.web.peer_handlers import peer_routes
from stream.web.request_partition import RequestPartition
from stream.web.server import WebServer
from stream.web.traced import traced
from trainer.content.encoders import text_encoder

log = logging.getLogger(__name__)

ROWS, COPIES = "rows", "copies"
"""Where the rows of the partitions at work here lie in the data folder, and copies of the others."""
IDLE_FACTOR = 3.0
"""So many times as many item rows are published while the event loop has time: after a burst it shows sooner."""
PUBLISHING_TIME = {ENGAGEMENTS: 0.03, ITEM_SIGNALS: 0.1}
"""Parts of the event loop's time that publishing rows may take. User rows are for recovery only: their owner answers
from its own."""


class Worker:
    """One worker. `start` returns when it takes part in the group; `failed` is set when a part of it has stopped."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._folder = Path(settings.data_dir)

        # What all parts share
        self._metrics = Metrics(freshness=settings.freshness)
        self._foreign = ForeignRecords(self._metrics.foreign_record)
        self._export = open_export(settings.tracing, self._metrics.spans)
        stages = Stages(self._export, self._metrics.malformed_traceparent)
        self._load = EventLoopLoad()
        guess = settings.store.published_rows_per_s
        self._paces = {
            ENGAGEMENTS: PublicationPace(PUBLISHING_TIME[ENGAGEMENTS], guess / 2),
            ITEM_SIGNALS: PublicationPace(PUBLISHING_TIME[ITEM_SIGNALS], guess),
        }
        self._emitter = Emitter(settings)
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encode")
        encoder = text_encoder(settings.content.encoder)

        # What serves: the scorer, fed by the broadcast, and what is answered with it
        count = settings.kafka.partitions
        most = dict.fromkeys((UPLOADS, ENGAGEMENTS, PROFILES, ITEM_SIGNALS), count)
        self._assignment = Assignment({PROFILES: ENGAGEMENTS}, self.fail, most=most)
        self._owners = owners = ItemOwners(self._assignment, settings.kafka.partitions)
        self.scorer = Scorer(
            settings,
            metrics=self._metrics,
            encoder=encoder,
            emitter=self._emitter,
            owners=owners,
            foreign=self._foreign,
            traces=Traces(TraceFile(self._folder / "traces.jsonl")),
        )
        self._standby = (
            Standby(settings, self._folder / COPIES, self._without_copies, self._foreign)
            if settings.serving.standby
            else None
        )
        self._broadcast = Broadcast(
            settings,
            {**self.scorer.handlers(), CHECKPOINTS: self._on_checkpoint, FORGOTTEN_USERS: self._on_forgotten},
            self.scorer.batch_handlers(),
            later=(ITEM_STATES,),
            foreign=self._foreign,
        )
        self.scorer.arrivals.is_news = self._broadcast.is_news
        self.scorer.arrivals.stages = None if self._export is None else stages
        own_url = lambda: self.url  # noqa: E731  (known once the web server has started)
        self._peers = Peers(
            owner_of=self.scorer.owner_of,
            own_url=own_url,
            metrics=self._metrics,
            timeout_s=settings.serving.peer_timeout_s,
            token=settings.serving.tokens.operate,
            trusted=trust(settings.serving.tls),
        )
        self._service = service = WorkerService(
            settings,
            scorer=self.scorer,
            assignment=self._assignment,
            metrics=self._metrics,
            emitter=self._emitter,
            peers=self._peers,
            own_url=own_url,
            caught_up=self._broadcast.caught_up,
            standby=self._standby,
        )
        self._lineage = Lineage()
        seen = Owners(
            scorer=self.scorer,
            assignment=self._assignment,
            metrics=self._metrics,
            partitions=settings.kafka.partitions,
            own_url=own_url,
            own_ready=service.ready,
            ready=self._peers.ready,
        )
        self._desk = WorkerDesk(settings, scorer=self.scorer, lineage=self._lineage, owners=seen)
        levers = desk_routes(self._desk) if settings.serving.console else []
        around = [traced(stages)] if self._export is not None else []
        self._web = WebServer(service, self._metrics, settings.serving, [*peer_routes(service), *levers], around)

        # What absorbs: the partitions that the group gives this worker
        context = PartitionContext(
            settings=settings,
            emitter=self._emitter,
            metrics=self._metrics,
            generation=lambda: self._assignment.generation,
            fault=reached,
            foreign=self._foreign,
            stages=stages,
        )
        ingest = IngestFactories(
            context=context,
            folder=self._folder / ROWS,
            cataloguing=Cataloguing(
                encoder=encoder,
                codebook=self.scorer.codebook,
                known_card=self.scorer.card,
                executor=self._encoding,
            ),
            scoring=self.scorer.examples,
            published=self.scorer.recommender.published,
            rows_per_s=self._rows_per_s,
            published_in=lambda agent, rows, busy_s: self._paces[agent].measured(rows, busy_s),
            own_url=own_url,
            unknown_items=UnknownItems(self._is_unknown, self._metrics),
        )
        requests = partial(
            RequestPartition, context=context, service=service, forgotten_at_ms=self.scorer.forgotten_at_ms
        )
        factories: dict[str, Factory] = {**ingest.by_agent(), RECOMMEND_REQUESTS: requests}
        self._app = create_app(settings, self._assignment, factories, self._folder / "faust")

    @property
    def url(self) -> str:
        """Where this worker answers, as others reach it."""
        return self.settings.serving.advertise or self._web.url

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._web.start()
        await self._emitter.start()
        await self._peers.start()
        self._supervise("broadcast", self._broadcast.run())
        self._supervise("swaps", self.scorer.swaps.run(self._broadcast.caught_up))
        self._supervise("upkeep", self.scorer.upkeep.run(self._broadcast.caught_up))
        self._supervise("tables", self.scorer.precomputing.run(self._broadcast.caught_up))
        if self._standby is not None:
            self._supervise("standby", self._standby.run(self._broadcast.caught_up))
        self._supervise("lag", LagWatch(self.settings, self._metrics).run())
        self._supervise("canaries", Canaries(self.settings, self._metrics, self._assignment.numbers).run())
        self._supervise("cards", self._owners.keep_cards(self._broadcast.caught_up))
        self._supervise("log", LogWatch(self.settings, self._assignment.reached).run())
        await self._app.start()
        self._supervise("faust", self._watch_app())
        self._supervise("event loop load", self._load.run())

    def drain(self) -> None:
        """Says at `/readyz` that it is to stop, and goes on with everything."""
        self._service.draining = True

    async def stop(self) -> None:
        """Stops in the order of the flow: nothing new comes in, what is in flight is left to the log."""
        self.drain()
        await self._web.stop()
        await self._app.stop()
        await self._assignment.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._peers.stop()
        await self._emitter.stop()
        if self._standby is not None:
            self._standby.close()
        self._desk.close()
        self.scorer.close()
        self.scorer.traces.close()
        self._encoding.shutdown(wait=False, cancel_futures=True)
        if self._export is not None:
            self._export.stop()  # at last, for a moment: nothing else waits for a collector

    def fail(self, error: BaseException) -> None:
        """Notes what stopped a part; the process ends soon after."""
        self.failure = self.failure or error
        self.failed.set()

    def _supervise(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                log.error("%s stopped: %r", name, task.exception(), exc_info=task.exception())
                self.fail(task.exception() or RuntimeError(name))

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)

    async def _watch_app(self) -> None:
        while not self._app.crashed:
            await asyncio.sleep(0.5)
        raise RuntimeError(f"faust crashed: {self._app.crash_reason!r}") from self._app.crash_reason

    def _on_checkpoint(self, record: Any) -> None:
        self.scorer.swaps.on_checkpoint(record)
        self._lineage.on_record(record.key, record.value)
        if self._broadcast.caught_up.is_set() and (request := request_in(record.key, record.value)):
            self._assignment.republish(request)  # one that was there at the start is an old one, or is said again

    def _on_forgotten(self, record: Any) -> None:
        self.scorer.on_forgotten(record)
        if self._standby is not None:
            self._standby.on_forgotten(record)

    def _without_copies(self) -> set[int]:
        """The partitions of which nobody needs copies here: without peers those that are at work here."""
        has_peers = any(url != self.url for url in self.scorer.owner_urls.values())
        return set() if has_peers else self._assignment.numbers(ENGAGEMENTS)

    def _is_unknown(self, item_id: str) -> bool:
        """Whether an item is not in the catalogue, as far as all cards have been read."""
        return self._broadcast.caught_up.is_set() and self.scorer.card(item_id) is None

    def _rows_per_s(self, agent: str) -> float:
        """One partition's part of the rows that this worker may publish for an agent: more while the event loop has
        time for what others wait for."""
        factor = IDLE_FACTOR if agent == ITEM_SIGNALS and self._load.has_time else 1.0
        return factor * self._paces[agent].rows_per_s / max(1, self._assignment.count(agent))
