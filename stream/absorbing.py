"""Absorbing: what a worker runs that takes part in the group: Faust's agents, the partitions at work, and canaries.

Invariant: it takes of what is read of all items (`Known`) no more than learning needs, so that a worker that answers
nothing can have it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from store.files.crash_points import reached
from store.records.foreign import ForeignRecords
from store.settings import Settings
from store.topics import ENGAGEMENTS, ITEM_SIGNALS, RECOMMEND_REQUESTS
from stream.canaries import Canaries
from stream.ingest.agents import create_app
from stream.ingest.assignment import Assignment, Factory
from stream.ingest.factories import IngestFactories
from stream.ingest.growth.unknown_items import UnknownItems
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.upload_partition import Cataloguing
from stream.kafka.emitter import Emitter
from stream.kafka.log_watch import LogWatch
from stream.metrics.event_loop_load import EventLoopLoad
from stream.metrics.metrics import Metrics
from stream.metrics.publication_pace import PublicationPace
from stream.reading import Known
from stream.tracing.stages import Stages
from stream.web.request_partition import Answering, RequestPartition
from trainer.content.encoder import TextEncoder

ROWS = "rows"
"""Where the rows of the partitions at work here lie in the data folder."""
IDLE_FACTOR = 3.0
"""So many times as many item rows are published while the event loop has time: after a burst it shows sooner."""
PUBLISHING_TIME = {ENGAGEMENTS: 0.03, ITEM_SIGNALS: 0.1}
"""Parts of the event loop's time that publishing rows may take. User rows are for recovery only: their owner answers
from its own."""


class Absorbing:
    """Of one worker. `caught_up` is set once what is known of all items has been read; `answering` answers the requests
    that come over Kafka."""

    def __init__(
        self,
        settings: Settings,
        *,
        known: Known,
        assignment: Assignment,
        metrics: Metrics,
        emitter: Emitter,
        encoder: TextEncoder,
        foreign: ForeignRecords,
        stages: Stages,
        own_url: Callable[[], str],
        caught_up: asyncio.Event,
        answering: Answering,
    ) -> None:
        self._settings, self._metrics, self._assignment = settings, metrics, assignment
        self._known, self._caught_up = known, caught_up
        self._folder = Path(settings.data_dir)
        self._load = EventLoopLoad()
        guess = settings.store.published_rows_per_s
        self._paces = {
            ENGAGEMENTS: PublicationPace(PUBLISHING_TIME[ENGAGEMENTS], guess / 2),
            ITEM_SIGNALS: PublicationPace(PUBLISHING_TIME[ITEM_SIGNALS], guess),
        }
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encode")
        context = PartitionContext(
            settings=settings,
            emitter=emitter,
            metrics=metrics,
            generation=lambda: assignment.generation,
            fault=reached,
            foreign=foreign,
            stages=stages,
        )
        requests = partial(RequestPartition, context=context, service=answering, forgotten_at_ms=known.forgotten_at_ms)
        ingest = self._factories(context, encoder, own_url)
        factories: dict[str, Factory] = {**ingest.by_agent(), RECOMMEND_REQUESTS: requests}
        self._app = create_app(settings, assignment, factories, self._folder / "faust")

    def _factories(
        self, context: PartitionContext, encoder: TextEncoder, own_url: Callable[[], str]
    ) -> IngestFactories:
        known = self._known
        return IngestFactories(
            context=context,
            folder=self._folder / ROWS,
            cataloguing=Cataloguing(
                encoder=encoder, codebook=known.codebook, known_card=known.card, executor=self._encoding
            ),
            scoring=known.scoring,
            published=known.published,
            rows_per_s=self._rows_per_s,
            published_in=lambda agent, rows, busy_s: self._paces[agent].measured(rows, busy_s),
            own_url=own_url,
            unknown_items=UnknownItems(self._is_unknown, self._metrics),
        )

    def work(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the agents, by name."""
        return {
            "canaries": Canaries(self._settings, self._metrics, self._assignment.numbers).run(),
            "log": LogWatch(self._settings, self._assignment.reached).run(),
            "event loop load": self._load.run(),
        }

    async def start(self) -> None:
        await self._app.start()

    async def watch(self) -> None:
        """Fails when Faust does."""
        while not self._app.crashed:
            await asyncio.sleep(0.5)
        raise RuntimeError(f"faust crashed: {self._app.crash_reason!r}") from self._app.crash_reason

    async def stop(self) -> None:
        await self._app.stop()
        await self._assignment.stop()

    def close(self) -> None:
        self._encoding.shutdown(wait=False, cancel_futures=True)

    def _is_unknown(self, item_id: str) -> bool:
        """Whether an item is not in the catalogue, as far as all cards have been read."""
        return self._caught_up.is_set() and self._known.card(item_id) is None

    def _rows_per_s(self, agent: str) -> float:
        """One partition's part of the rows that this worker may publish for an agent: more while the event loop has
        time for what others wait for. Rows of items are read by every scorer, those of all owners: so owners share what
        one may publish, or each worker that is added would cost all others as much as itself."""
        partitions = max(1, self._assignment.count(agent))
        if agent != ITEM_SIGNALS:
            return self._paces[agent].rows_per_s / partitions
        factor = IDLE_FACTOR if self._load.has_time else 1.0
        owners = max(1, len(set(self._known.owner_urls.values())))
        return factor * self._paces[agent].rows_per_s / partitions / owners
