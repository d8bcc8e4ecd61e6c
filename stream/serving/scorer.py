"""The scorer: the recommender of a running worker.

The event loop writes what the broadcast brings (cards and rows of all items); one thread answers. Which checkpoint
serves is the care of `Swaps`.

Invariant: every answer names the one checkpoint and the one codebook that made it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from store.histories import UserRow
from store.items import ItemCard
from store.keys import partition_of
from store.records.foreign import ForeignRecords, id_in
from store.records.peer_messages import ShownAnswer
from store.requests import Answer, Request
from store.settings import Settings
from store.topics import CHECKPOINTS, FORGOTTEN_USERS, ITEM_STATES, RANKING_EXAMPLES, SEMANTIC_IDS
from stream.kafka.emitter import Emitter, EmitterError
from stream.metrics.metrics import Metrics
from stream.serving.answering.turns import Ask, Turns
from stream.serving.arrivals import Arrivals
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.others.announced_owners import AnnouncedOwners
from stream.serving.others.forgotten_users import ForgottenUsers
from stream.serving.precomputed.fallbacks import Fallbacks
from stream.serving.precomputed.precomputing import Precomputing
from stream.serving.reading.item_rows import ItemRows
from stream.serving.reading.published_cards import PublishedCards
from stream.serving.reading.published_records import Owners, PublishedRecords
from stream.serving.swaps import Swaps
from stream.serving.traces import Traces
from stream.serving.upkeep import Upkeep
from stream.serving.watching.examples import Examples
from trainer.answers import Served
from trainer.content.encoder import TextEncoder
from trainer.items.vector_learning import Published
from trainer.model_bundle import ModelBundle
from trainer.reasons import EXPLORE
from trainer.recommender import Recommender
from trainer.rules import recommender_rules
from trainer.semantic_ids.codebook import Codebook, zero_codebook
from trainer.tables.kept import NOT_KEPT, KeptAnswers
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
        cache_s = {task: of_task.cache_s for task, of_task in serving.tasks.items()}
        self.kept = KeptAnswers(self.recommender, cache_s)
        self._forgotten = ForgottenUsers(self.attribution, self.frequency, self.kept)
        self._turns = Turns(self.recommender)
        windows = len(self.recommender.rules.item.half_lives_s)
        partitions = settings.kafka.partitions
        self._announced = AnnouncedOwners(partitions, owners)
        read = PublishedRecords(partitions, owners, self.swaps.bundles, windows)
        self._cards = PublishedCards(self, read, owners, self._card_came)
        self.rows = ItemRows(
            self.recommender,
            read=read,
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
        self._forgotten.on_record(record)

    def forgotten_at_ms(self, user_id: str) -> int:
        """When a user was forgotten last (epoch milliseconds), -1 for never."""
        return self._forgotten.at_ms(user_id)

    def on_card(self, record: Any) -> None:
        item_id = id_in(record.key)
        if not self.arrivals.canary(record, item_id):
            self._cards.take(record, item_id)

    def _card_came(self, record: Any, card: ItemCard, known: ItemCard | None) -> None:
        self.arrivals.card(record, card, known)
        self.rows.card_came(record.partition, card.item_id)

    def take_down(self, item_id: str) -> None:
        """The item cannot be recommended any more."""
        handle = self.recommender.catalog.handles.get(item_id)
        self.recommender.remove(item_id)
        if handle is not None:
            self.swaps.remove(handle)

    def insert_card(self, card: ItemCard) -> None:
        """The item can be recommended, or has moved."""
        self.recommender.insert(card)
        self.swaps.insert(self.recommender.catalog.handles[card.item_id], card)

    def _on_position(self, record: Any) -> None:
        self._announced.on_position(record)
        self.arrivals.position(record)

    # ---- what the worker asks ----

    @property
    def published(self) -> Published:
        """The vectors of all items."""
        return self.recommender.published

    @property
    def scoring(self) -> Examples:
        """What learns to rank from engagements."""
        return self.examples

    def on_checkpoint(self, record: Any) -> None:
        self.swaps.on_checkpoint(record)

    def work(self, caught_up: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the answers, by name."""
        return {
            "swaps": self.swaps.run(caught_up),
            "upkeep": self.upkeep.run(caught_up),
            "tables": self.precomputing.run(caught_up),
        }

    @property
    def serving(self) -> ModelBundle:
        return self.recommender.serving

    def codebook(self) -> Codebook:
        """The version that fresh uploads are assigned under."""
        return self.recommender.serving.codebook

    def card(self, item_id: str) -> ItemCard | None:
        """The card of a live item."""
        handle = self.recommender.catalog.handles.get(item_id)
        return self.recommender.catalog.cards[handle] if handle is not None else None

    def cards(self, partition: int) -> list[ItemCard]:
        """Cards of the live items of one partition."""
        count, catalog = self.settings.kafka.partitions, self.recommender.catalog
        mine = (handle for handle, item_id in enumerate(catalog.ids) if partition_of(item_id, count) == partition)
        return [card for handle in mine if (card := catalog.cards[handle]) is not None]

    @property
    def owner_urls(self) -> dict[int, str]:
        """Partition → the address of who has announced itself as its owner."""
        return self._announced.urls

    def owner_of(self, user_id: str) -> str | None:
        """The address of the worker that has this user's partition."""
        return self._announced.of(user_id)

    def now_s(self) -> float:
        """Event time: the highest time absorbed, or wall time once the stream is within an hour of it."""
        now, recommender = time.time(), self.recommender
        return now if now - max(recommender.now_s, recommender.uploaded_s) < 3600.0 else recommender.now_s

    async def recommend(
        self,
        request: Request,
        user: UserRow | None,
        *,
        degraded: bool = False,
        tell: Callable[[ShownAnswer], None] | None = None,
    ) -> Answer:
        """The answer, of the table or made in the answering thread. `tell`: hears of what it shows, where the user is
        at home elsewhere."""
        if (note := self.frequency.spent(request, user)) is not None:
            return self.recommender.nothing(request, note)
        if (now_s := self.now_s()) > self.recommender.now_s:
            self.recommender.observe(now_s)
        found = self.precomputing.find(request, user, degraded=degraded)
        served = found.served or await self._kept_or_made(request, user, found, degraded=degraded)
        answered_at = self.frequency.count(request, len(served.answer.items))
        self.traces.recommended(served.answer)
        self.metrics.showed(len(served.answer.items), sum(item.source == EXPLORE for item in served.answer.items))
        if tell is not None and served.answer.items:
            tell(_shown(request, served, answered_at))
        shown = self.attribution.serve(request, served)
        if shown is not None and len(self._publishing) < MOST_PUBLISHING:
            task = asyncio.create_task(self._publish_shown(request.user_id, shown))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)
        return served.answer

    async def _kept_or_made(self, request: Request, user: UserRow | None, found: Found, *, degraded: bool) -> Served:
        """The answer that was made a moment ago, or a new one, or the fallback."""
        kept = self.kept.find(request, user) if found.explores is None and not degraded else NOT_KEPT
        if kept.served is not None:
            self.metrics.surfaces.cached(request.task)
            return kept.served
        due_s, explores = request.due_s(), found.explores or kept.explores
        made = self._made(request, user, found, due_s, explores, degraded=degraded)
        served = await self.fallbacks.or_else(made, request, user, due_s)
        if kept.place is not None:
            self.kept.keep(kept.place, served)
        return served

    async def _made(
        self,
        request: Request,
        user: UserRow | None,
        found: Found,
        due_s: float,
        explores: bool | None,
        *,
        degraded: bool,
    ) -> Served:
        """The answer, made now."""
        ask = Ask(request, user, degraded=degraded, due_s=due_s, explores=explores)
        served, cost_s = await self._turns.answer(ask)
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
        self._turns.close()
        self.swaps.close()
        self.upkeep.close()
        self.precomputing.close()
        self.traces.close()


def _shown(request: Request, served: Served, answered_at: float) -> ShownAnswer:
    items = served.answer.items
    return ShownAnswer(
        user_id=request.user_id,
        task=request.task,
        request_id=served.answer.request_id,
        shown_at=served.now_s,
        item_ids=[item.item_id for item in items],
        explored=next((place for place, item in enumerate(items) if item.source == EXPLORE), -1),
        answered_at=answered_at,
    )
