"""The scorer: the recommender of a running worker.

The event loop writes what the broadcast brings (cards and rows of all items); one thread answers. Which checkpoint
serves is the care of `Swaps`.

Invariant: every answer names the one checkpoint and the one codebook that made it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from store.histories import UserRow
from store.items import ItemCard, ItemRow, row_in
from store.keys import partition_of
from store.log import forgotten_in
from store.records.card_order import CardOrder
from store.records.foreign import ForeignRecords, id_in
from store.requests import Answer, Request
from store.settings import Settings
from store.topics import CHECKPOINTS, FORGOTTEN_USERS, ITEM_STATES, RANKING_EXAMPLES, SEMANTIC_IDS
from stream.kafka.emitter import Emitter, EmitterError
from stream.kafka.state_topics import POSITION_KEY, announcement_in, ended_before_s, generation_of
from stream.metrics.metrics import Metrics
from stream.serving.arrivals import Arrivals
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.reading.published_records import Owners, PublishedRecords, refuse, row_offset_in
from stream.serving.swaps import Swaps
from stream.serving.traces import Traces
from stream.serving.uncatalogued.strange_neighbours import StrangeNeighbours
from stream.serving.uncatalogued.waiting_rows import WaitingRows
from stream.serving.upkeep import Upkeep
from stream.serving.watching.examples import Examples
from trainer.content.encoder import TextEncoder
from trainer.model_bundle import ModelBundle
from trainer.reasons import EXPLORE
from trainer.recommender import Recommender
from trainer.rules import recommender_rules
from trainer.semantic_ids.codebook import Codebook, zero_codebook

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
        self.waiting, self.strangers = WaitingRows(), StrangeNeighbours()
        self._known: dict[str, tuple[int, dict[int, int]]] = {}
        self._order = CardOrder()
        self.recommender = Recommender(
            recommender_rules(settings),
            encode=lambda text: encoder.encode([text])[0],
            serving=ModelBundle(zero_codebook(settings), beams=settings.serving.beams),
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
        self.attribution = Attribution(serving.impression_sample, serving.impression_window_s, self._hit)
        self.frequency = Frequency({task: of_task.most_per_day for task, of_task in serving.tasks.items()})
        self._emitter = emitter
        self._publishing: set[asyncio.Task[None]] = set()
        self.examples = Examples(settings, self.recommender, self.swaps, self.attribution, metrics)
        self._forgotten_at_ms: dict[str, int] = {}
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._owners = owners
        windows = len(self.recommender.rules.item.half_lives_s)
        self._read = PublishedRecords(settings.kafka.partitions, owners, self.swaps.bundles, windows)
        self._passed: dict[str, tuple[int, bytes]] = {}

    # ---- what the broadcast brings ----

    def handlers(self) -> dict[str, Callable[[Any], None]]:
        return {
            SEMANTIC_IDS: self.on_card,
            ITEM_STATES: self.on_row,
            CHECKPOINTS: self.swaps.on_checkpoint,
            FORGOTTEN_USERS: self.on_forgotten,
        }

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
                self._meet_waiting(record.partition, item_id)
        self._owners.card_read(record.partition, item_id, counts)

    def _meet_waiting(self, partition: int, item_id: str) -> None:
        """The card of an item has come: its row counts from now on."""
        row = self.waiting.take(item_id)
        if row is not None:
            self._update(item_id, row)
        elif item_id not in self._known and self.waiting.dropped:
            self._owners.wanted(partition, item_id)
        for other in self.strangers.met(item_id):
            self._owners.wanted(partition_of(other, self.settings.kafka.partitions), other)

    def counters(self, item_id: str) -> dict[int, int]:
        """Kind → engagements with an item, live or not, as far as its owner has published them."""
        return waiting.counters if (waiting := self.waiting.get(item_id)) else self._known.get(item_id, (-1, {}))[1]

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

    def on_row(self, record: Any) -> None:
        if record.key == POSITION_KEY:
            generation = generation_of(record)
            if url := announcement_in(record.value, record.partition).url:
                self.owner_urls[record.partition] = url
                self._owners.announced(record.partition, generation)
            return self.arrivals.position(record)
        item_id = id_in(record.key)
        if record.value is None:
            return self._end(item_id) if ended_before_s(record) >= 0 else None
        row, is_further = self._furthest(record, item_id)
        if row is None:
            return
        if item_id in self.recommender.catalog.handles:
            self._update(item_id, row)
        else:
            self.waiting.put(item_id, msgspec.msgpack.encode(row))
        self.arrivals.row(record, item_id, is_further)

    def _offset(self, item_id: str) -> int:
        """How far the row is that is known of an item; -1 without one."""
        return max(self._known.get(item_id, (-1, {}))[0], self.waiting.offset(item_id))

    def _update(self, item_id: str, row: ItemRow) -> None:
        self._known[item_id] = row.offset, row.counters
        self.recommender.update(item_id, self.strangers.without(item_id, row, self.recommender.catalog.handles.keys()))

    def _end(self, item_id: str) -> None:
        """The row of an item has expired: what behaviour taught of it is gone."""
        self.waiting.drop(item_id)
        if self._known.pop(item_id, None) is not None:
            self.recommender.forget(item_id)

    def _furthest(self, record: Any, item_id: str) -> tuple[ItemRow | None, bool]:
        """The row that counts, also one passed over (None: it is known already); whether it is the furthest so far."""
        row, known = self._read.row(record, item_id), self._offset(item_id)
        offset, value = self._passed.pop(item_id, (-1, b""))
        if row.offset >= max(offset, known):
            return row, row.offset > max(offset, known)
        self._owners.heal(record.partition, item_id, row)
        return (row_in(value) if offset > known else None), False

    def on_passed_row(self, record: Any) -> None:
        """A row after which another of the same item has come. What it held is in that one, unless that one is of a
        former owner, and older."""
        if record.key == POSITION_KEY or record.value is None:
            return
        item_id = id_in(record.key)
        offset = row_offset_in(record)
        passed = self._passed.get(item_id, (-1, b""))[0]
        if offset >= passed:
            self._passed[item_id] = offset, record.value
        self.arrivals.row(record, item_id, offset > max(passed, self._offset(item_id)))

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
        count, cards = self.settings.kafka.partitions, filter(None, self.recommender.catalog.cards)
        return [card for card in cards if partition_of(card.item_id, count) == partition]

    def owner_of(self, user_id: str) -> str | None:
        """The address of the worker that has this user's partition."""
        return self.owner_urls.get(partition_of(user_id, self.settings.kafka.partitions))

    def now_s(self) -> float:
        """Event time: the highest time absorbed, or wall time once the stream is within an hour of it."""
        now, recommender = time.time(), self.recommender
        return now if now - max(recommender.now_s, recommender.uploaded_s) < 3600.0 else recommender.now_s

    async def recommend(self, request: Request, user: UserRow | None, *, degraded: bool = False) -> Answer:
        """The answer, made in the answering thread."""
        if (note := self.frequency.spent(request)) is not None:
            return self.recommender.nothing(request, note)
        if (now_s := self.now_s()) > self.recommender.now_s:
            self.recommender.observe(now_s)
        due_s = request.due_s()
        served = await asyncio.get_running_loop().run_in_executor(
            self._answering, lambda: self.recommender.answer(request, user, degraded=degraded, due_s=due_s)
        )
        self.frequency.count(request, len(served.answer.items))
        self.traces.recommended(served.answer)
        self.metrics.showed(len(served.answer.items), sum(item.source == EXPLORE for item in served.answer.items))
        shown = self.attribution.serve(request, served)
        if shown is not None and len(self._publishing) < MOST_PUBLISHING:
            task = asyncio.create_task(self._publish_shown(request.user_id, shown))
            self._publishing.add(task)
            task.add_done_callback(self._publishing.discard)
        return served.answer

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
