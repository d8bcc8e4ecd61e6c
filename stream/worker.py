"""The worker: the production unit. One process that absorbs its share of the log, answers requests, or both: its role
(`store.settings.roles`) says which parts it has.

Everything lives on one event loop: Faust's agents, the partitions at work, the broadcast, the emitter and the web
application; what takes processor time (encoding text, recommending, loading a checkpoint) runs in threads. The worker
fails as a whole: any part that stops it ends the process with status 1, and the next start goes on from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from store.records.foreign import ForeignRecords
from store.records.republish_request import request_in
from store.security import trust
from store.settings import Settings
from store.topics import ENGAGEMENTS, ITEM_SIGNALS, PROFILES, UPLOADS
from stream.absorbing import Absorbing
from stream.answering import Answering
from stream.canaries import expect_everywhere
from stream.ingest.assignment import Assignment
from stream.ingest.consumer_lag import LagWatch
from stream.ingest.item_owners import ItemOwners
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.reading import Known, Reading
from stream.serving.learning.learner import Learner
from stream.serving.learning.service import AbsorbingService
from stream.serving.others.owned_users import OwnedUsers
from stream.serving.others.passed_on import PassedOn
from stream.serving.others.readiness import Readiness, owners_of, partitions_of
from stream.serving.others.telling import Telling
from stream.serving.peers import Peers
from stream.serving.scorer import Scorer
from stream.serving.trace_file import TraceFile
from stream.serving.traces import Traces
from stream.tracing.opening import open_export
from stream.tracing.stages import Stages
from stream.web.peer_handlers import absorbing_routes
from stream.web.server import WebServer
from stream.web.traced import traced
from trainer.content.encoders import text_encoder

log = logging.getLogger(__name__)


class Worker:
    """One worker. `start` returns when it takes part in the group, if it does; `failed` is set when a part of it has
    stopped."""

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
        self._stages = Stages(self._export, self._metrics.malformed_traceparent)
        self._emitter = Emitter(settings)
        self._encoder = text_encoder(settings.content.encoder)
        count = settings.kafka.partitions
        most = dict.fromkeys((UPLOADS, ENGAGEMENTS, PROFILES, ITEM_SIGNALS), count)
        self._assignment = Assignment({PROFILES: ENGAGEMENTS}, self.fail, most=most)

        # What is known of all items and users
        self._owners = ItemOwners(self._assignment, count, lambda *row: self._telling.wanted(*row))
        self._known: Known = self._learner_or_scorer()
        self._reading = Reading(settings, self._known, self._on_checkpoint, self._on_forgotten, self._foreign)

        # Other workers, and what they are told of users
        self._peers = Peers(
            owner_of=self._known.owner_of,
            own_url=self._own_url,
            metrics=self._metrics,
            timeout_s=settings.serving.peer_timeout_s,
            token=settings.serving.tokens.operate,
            trusted=trust(settings.serving.tls),
            by_rows=not settings.work.absorbs,
        )
        attribution, frequency = self._known.attribution, self._known.frequency
        self._telling = Telling(self._peers, self._known.owner_urls, self._own_url, attribution.hit)
        self._users = OwnedUsers(self._assignment, count, attribution, frequency, self._owners.wanted)

        # What this worker is for
        self._readiness = self._ready_when()
        self._answering = self._part_that_answers()
        self._absorbing = self._part_that_absorbs()
        self._web = self._face()

    @property
    def scorer(self) -> Scorer:
        """Of a worker that answers."""
        assert isinstance(self._known, Scorer), f"a worker of role {self.settings.role} has no scorer"
        return self._known

    @property
    def url(self) -> str:
        """Where this worker answers, as others reach it."""
        return self.settings.serving.advertise or self._web.url

    def _own_url(self) -> str:
        """Known once the web server has started."""
        return self.url

    # ---- how it is put together ----

    def _learner_or_scorer(self) -> Learner | Scorer:
        if not self.settings.work.answers:
            return Learner(self.settings, owners=self._owners, foreign=self._foreign)
        expect_everywhere(self.settings, self._metrics)
        scorer = Scorer(
            self.settings,
            metrics=self._metrics,
            encoder=self._encoder,
            emitter=self._emitter,
            owners=self._owners,
            foreign=self._foreign,
            traces=Traces(TraceFile(self._folder / "traces.jsonl")),
        )
        scorer.arrivals.is_news = lambda record: self._reading.is_news(record)
        scorer.arrivals.stages = None if self._export is None else self._stages
        return scorer

    def _ready_when(self) -> Readiness:
        if self.settings.work.absorbs:
            return Readiness(self._reading.caught_up, partitions_of(self._assignment))
        urls, count = self._known.owner_urls, self.settings.kafka.partitions
        return Readiness(self._reading.caught_up, owners_of(count, urls, self._telling.answering))

    def _part_that_answers(self) -> Answering | None:
        if not self.settings.work.answers:
            return None
        return Answering(
            self.settings,
            scorer=self.scorer,
            assignment=self._assignment,
            metrics=self._metrics,
            emitter=self._emitter,
            foreign=self._foreign,
            peers=self._peers,
            telling=self._telling,
            users=self._users,
            readiness=self._readiness,
            own_url=self._own_url,
        )

    def _part_that_absorbs(self) -> Absorbing | None:
        if not self.settings.work.absorbs:
            return None
        answering = self._answering
        return Absorbing(
            self.settings,
            known=self._known,
            assignment=self._assignment,
            metrics=self._metrics,
            emitter=self._emitter,
            encoder=self._encoder,
            foreign=self._foreign,
            stages=self._stages,
            own_url=self._own_url,
            caught_up=self._reading.caught_up,
            answering=PassedOn(self._users.answerers, self._peers) if answering is None else answering.service,
        )

    def _face(self) -> WebServer:
        """The web server. One that answers nothing has no page."""
        around = [traced(self._stages)] if self._export is not None else []
        serving = self.settings.serving
        if self._answering is not None:
            return WebServer(self._answering.service, self._metrics, serving, self._answering.routes, around)
        assert isinstance(self._known, Learner)
        service = AbsorbingService(
            self.settings,
            learner=self._known,
            assignment=self._assignment,
            metrics=self._metrics,
            own_url=self._own_url,
            readiness=self._readiness,
            users=self._users,
        )
        return WebServer(service, self._metrics, serving, absorbing_routes(service), around, answers=False)

    # ---- how it runs ----

    async def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._web.start()
        await self._emitter.start()
        await self._peers.start()
        caught_up = self._reading.caught_up
        work = {"broadcast": self._reading.run(), "lag": LagWatch(self.settings, self._metrics).run()}
        work |= self._known.work(caught_up)
        work["cards"] = self._owners.keep_cards(caught_up)
        if self._answering is not None:
            work |= {"telling": self._telling.run(), **self._answering.work(caught_up)}
        for name, one in work.items():
            self._supervise(name, one)
        if self._absorbing is not None:
            for name, one in self._absorbing.work().items():
                self._supervise(name, one)
            await self._absorbing.start()
            self._supervise("faust", self._absorbing.watch())

    def drain(self) -> None:
        """Says at `/readyz` that it is to stop, and goes on with everything."""
        self._readiness.draining = True

    async def stop(self) -> None:
        """Stops in the order of the flow: nothing new comes in, what is in flight is left to the log."""
        self.drain()
        await self._web.stop()
        if self._absorbing is not None:
            await self._absorbing.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._peers.stop()
        await self._emitter.stop()
        for part in (self._answering, self._known, self._absorbing):
            if part is not None:
                part.close()
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

    def _on_checkpoint(self, record: Any) -> None:
        self._known.on_checkpoint(record)
        if self._answering is not None:
            self._answering.lineage.on_record(record.key, record.value)
        if self._reading.caught_up.is_set() and (request := request_in(record.key, record.value)):
            self._assignment.republish(request)  # one that was there at the start is an old one, or is said again

    def _on_forgotten(self, record: Any) -> None:
        self._known.on_forgotten(record)
        if self._answering is not None:
            self._answering.on_forgotten(record)
