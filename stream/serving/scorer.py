"""The scorer: the recommender of a running worker.

The event loop writes what the broadcast brings (cards and rows of all items); one thread answers. Which checkpoint
serves is the care of `Swaps`.

Invariant: every answer names the one checkpoint and the one codebook that made it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from store.histories import UserRow
from store.items import ItemCard
from store.keys import partition_of
from store.log import forgotten_in
from store.records.card_order import CardOrder
from store.records.foreign import ForeignRecords, id_in
from store.requests import Answer, Request
from store.settings import Settings
from store.topics import CHECKPOINTS, FORGOTTEN_USERS, ITEM_STATES, RANKING_EXAMPLES, SEMANTIC_IDS
from stream.kafka.emitter import Emitter, EmitterError
from stream.kafka.state_topics import announcement_in, generation_of
from stream.metrics.metrics import Metrics
from stream.serving.arrivals import Arrivals
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.precomputed.fallbacks import Fallbacks
from stream.serving.precomputed.precomputing import Precomputing
from stream.serving.reading.item_rows import ItemRows
from stream.serving.reading.published_records import Owners, PublishedRecords, refuse
from stream.serving.swaps import Swaps
from stream.serving.traces import Traces
from stream.serving.upkeep import Upkeep
from stream.serving.watching.examples import Examples
from trainer.answers import Served
from trainer.content.encoder import TextEncoder
from trainer.model_bundle import ModelBundle
from trainer.reasons import EXPLORE
from trainer.recommender import Recommender
from trainer.rules import recommender_rules
from trainer.semantic_ids.codebook import Codebook, zero_codebook
from trainer.tables.table import Found

log = logging.getLogger(__name__)

MOST_PUBLISHING = 1000
"""Answers whose lines may be on their way to the broker: beyond that they are not published."""


class Scorer:
    """Answers requests from what the broadcast brings to its `handlers`."""

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics,
        encoder: TextEncoder,
        emitter: Emitter,
        owners: Owners,
        foreign: ForeignRecords | None = None,
        traces: Traces | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.traces = traces or Traces()
        self.arrivals = Arrivals(metrics, self.traces)
        self.owner_urls: dict[int, str] = {}
        self._order = CardOrder()
        self.recommender = Recommender(
            recommender_rules(settings),
            encode=lambda text: encoder.encode([text])[0],
            serving=ModelBundle(zero_codebook(settings), beams=settings.serving.beams),
            cards_folder=Path(settings.data_dir),
        )
        self.swaps = Swaps(
            settings,
            metrics=metrics,
            emitter=emitter,
            recommender=self.recommender,
            codebook_changed=lambda: owners.reassign(self.cards),
            foreign=foreign,
        )
        self.upkeep = Upkeep(metrics, self.recommender)
        serving = settings.serving
        self.precomputing = Precomputing(serving.precomputed, self.recommender, metrics.tables)
        kinds = {task: of_task.fallback for task, of_task in serving.tasks.items()}
        self.fallbacks = Fallbacks(kinds, self.recommender, metrics.surfaces, self.precomputing.table.listed)
        self.attribution = Attribution(serving.impression_sample, serving.impression_window_s, self._hit)
        self.frequency = Frequency({task: of_task.most_per_day for task, of_task in serving.tasks.items()})
        self._emitter = emitter
        self._publishing: set[asyncio.Task[None]] = set()
        self.examples = Examples(settings, self.recommender, self.swaps, self.attribution, metrics)
        self._forgotten_at_ms: dict[str, int] = {}
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._owners = owners
        windows = len(self.recommender.rules.item.half_lives_s)
        partitions = settings.kafka.partitions
        self._read = PublishedRecords(partitions, owners, self.swaps.bundles, windows)
        self.rows = ItemRows(
            self.recommender,
            read=self._read,
            owners=owners,
            arrivals=self.arrivals,
            partitions=partitions,
            on_position=self._on_position,
            foreign=foreign,
        )

    # ---- what the broadcast brings ----

    def handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            SEMANTIC_IDS: self.on_card,
            CHECKPOINTS: self.swaps.on_checkpoint,
            FORGOTTEN_USERS: self.on_forgotten,
        }

    def batch_handlers(self) -> dict[str, Callable[[Sequence[Any]], None]]:
        return {ITEM_STATES: self.rows.on_records}

    def on_forgotten(self, record: Any) -> None:
        for user_id, one in forgotten_in([record], refuse).items():
            self._forgotten_at_ms[user_id] = max(one.forgotten_at_ms, self.forgotten_at_ms(user_id))
            self.attribution.forget(user_id)
            self.frequency.forget(user_id)

    def forgotten_at_ms(self, user_id: str) -> int:
        """When a user was forgotten last (epoch milliseconds), -1 for never."""
        return self._forgotten_at_ms.get(user_id, -1)

    def on_card(self, record: Any) -> None:
        item_id = id_in(record.key)
        if self.arrivals.canary(record, item_id):
            return
        known = self.card(item_id)
        offset = None if known is None else known.upload_offset
        if record.value is None:
            counts = self._order.takes_down(item_id, record.headers, offset)
            if counts:
                self._take_down(item_id)
        else:
            card = self._read.card(record, item_id)
            counts = self._order.admits(item_id, card.upload_offset, offset)
            if counts:
                with self._read.taking(record, item_id, lambda: self._undo(item_id, known)):
                    self._insert(card)
                self.arrivals.card(record, card, known)
                self.rows.card_came(record.partition, item_id)
        self._owners.card_read(record.partition, item_id, counts)

    def _take_down(self, item_id: str) -> None:
        handle = self.recommender.catalog.handles.get(item_id)
        self.recommender.remove(item_id)
        if handle is not None:
            self.swaps.remove(handle)

    def _undo(self, item_id: str, known: ItemCard | None) -> None:
        self._take_down(item_id)
        if known is not None:
            self._insert(known)

    def _insert(self, card: ItemCard) -> None:
        self.recommender.insert(card)
        self.swaps.insert(self.recommender.catalog.handles[card.item_id], card)

    def _on_position(self, record: Any) -> None:
        generation = generation_of(record)
        if url := announcement_in(record.value, record.partition).url:
            self.owner_urls[record.partition] = url
            self._owners.announced(record.partition, generation)
        self.arrivals.position(record)

    # ---- what the worker asks ----

    @property
    def serving(self) -> ModelBundle:
        return self.recommender.serving

    def codebook(self) -> Codebook:
        """The version that fresh uploads are assigned under."""
        return self.recommender.serving.codebook

    def card(self, item_id: str) -> ItemCard | None:
        handle = self.recommender.catalog.handles.get(item_id)
        return self.recommender.catalog.cards[handle] if handle is not None else None

    def cards(self, partition: int) -> list[ItemCard]:
        """Cards of the live items of one partition."""
        count, catalog = self.settings.kafka.partitions, self.recommender.catalog
        mine = (handle for handle, item_id in enumerate(catalog.ids) if partition_of(item_id, count) == partition)
        return [card for handle in mine if (card := catalog.cards[handle]) is not None]

    def owner_of(self, user_id: str) -> str | None:
        """The address of the worker that has this user's partition."""
        return self.owner_urls.get(partition_of(user_id, self.settings.kafka.partitions))

    def now_s(self) -> float:
        """Event time: the highest time absorbed, or wall time once the stream is within an hour of it."""
        now, recommender = time.time(), self.recommender
        return now if now - max(recommender.now_s, recommender.uploaded_s) < 3600.0 else recommender.now_s

    async def recommend(self, request: Request, user: UserRow | None, *, degraded: bool = False) -> Answer:
        """The answer, of the table or made in the answering thread."""
        if (note := self.frequency.spent(request)) is not None:
            return self.recommender.nothing(request, note)
        if (now_s := self.now_s()) > self.recommender.now_s:
            self.recommender.observe(now_s)
        found = self.precomputing.find(request, user, degraded=degraded)
        served = found.served
        if served is None:
            due_s = request.due_s()
            made = self._made(request, user, found, due_s, degraded=degraded)
            served = await self.fallbacks.or_else(made, request, user, due_s)
        self.frequency.count(request, len(served.answer.items))
        self.traces.recommended(served.answer)
        self.metrics.showed(len(served.answer.items), sum(item.source == EXPLORE for item in served.answer.items))
        shown = self.attribution.serve(request, served)
        if shown is not None and len(self._publishing) < MOST_PUBLISHING:
            task = asyncio.create_task(self._publish_shown(request.user_id, shown))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)
        return served.answer

    async def _made(
        self, request: Request, user: UserRow | None, found: Found, due_s: float, *, degraded: bool
    ) -> Served:
        """The answer, made now."""

        def make() -> tuple[Served, float]:
            began_s = time.thread_time()
            served = self.recommender.answer(request, user, degraded=degraded, due_s=due_s, explores=found.explores)
            return served, time.thread_time() - began_s

        served, cost_s = await asyncio.get_running_loop().run_in_executor(self._answering, make)
        self.precomputing.took(found, cost_s)
        if any(note.reason == "late" for note in served.answer.notes):
            self.metrics.surfaces.late("model")
        return served

    async def _publish_shown(self, user_id: str, shown: bytes) -> None:
        """Nobody waits for this: an answer must not fail, nor be late, because it could not be told of."""
        try:
            await self._emitter.send(RANKING_EXAMPLES, shown, key=user_id.encode())
        except EmitterError as error:
            log.debug("what was shown is not published: %s", error)

    def _hit(self, item_id: str, explored: bool) -> None:
        self.metrics.shown_hit(explored)
        handle = self.recommender.catalog.handles.get(item_id)
        if handle is not None:
            self.recommender.exploration.hit(handle)

    def close(self) -> None:
        self._answering.shutdown(wait=False, cancel_futures=True)
        self.swaps.close()
        self.upkeep.close()
        self.precomputing.close()
