"""The scorer: the recommender of a running worker, its serving checkpoint, and the watch over it.

The event loop writes (cards, rows, checkpoints as the broadcast brings them); one thread answers. A new checkpoint is
loaded, checked and warmed in another thread, then one reference is exchanged between two answers. If the live metric or
the model's errors worsen past their bounds within the watch period, the scorer returns to the previous checkpoint at
once and tells the others on `checkpoints`.

Invariants: a served checkpoint has passed the gate, or a person promoted it; a failed load leaves what serves alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from store.checkpoints import SERVABLE, CheckpointFolder, CheckpointRecord
from store.events import Engagement
from store.histories import UserRow
from store.items import ItemCard, ItemRow
from store.keys import hash64, partition_of
from store.requests import Answer, Request
from store.settings import Settings
from stream.emitter import Emitter
from stream.live import LiveMetric
from stream.metrics import Metrics
from stream.states import CAUSED_AT, POSITION_KEY, decode_announcement
from stream.traces import Traces
from trainer.binding import NO_CHECKPOINT, Binding, common_words
from trainer.codebook import zero_codebook
from trainer.content import TextEncoder
from trainer.ranker import ranker_from
from trainer.ranker_chore import RANKER_KEY, RankerRecord
from trainer.recommender import Recommender, RecommenderRules

log = logging.getLogger(__name__)

SAMPLES_PER_S = 5.0
"""Engagements ranked for the live metric, at most: each costs as much as a request."""


class Scorer:
    """Answers requests from what the broadcast has told. `handlers` are the broadcast's ears."""

    def __init__(self, settings: Settings, metrics: Metrics, encoder: TextEncoder, emitter: Emitter) -> None:
        self.settings = settings
        self.metrics = metrics
        self.live = LiveMetric()
        self.traces = Traces()
        self.owners: dict[int, str] = {}
        self.counters: dict[str, dict[int, int]] = {}
        self.records: OrderedDict[str, CheckpointRecord] = OrderedDict()
        self.note = ""
        self.recommender = Recommender(
            RecommenderRules(explore_share=settings.serving.explore_share, beams=settings.serving.beams),
            encode=lambda text: encoder.encode([text])[0],
            serving=Binding(zero_codebook(settings), beams=settings.serving.beams),
        )
        self.on_codebook: Callable[[], None] = lambda: None
        self._emitter = emitter
        self._previous: Binding | None = None
        self._preparing: Binding | None = None
        self._target: CheckpointRecord | None = None
        self._changed = asyncio.Event()
        self._swapped_at = 0.0
        self._sampled_at = 0.0
        self._offsets: dict[str, int] = {}
        self._ranker: RankerRecord | None = None
        self._answering = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._heal: Callable[[int, str, ItemRow], None] = lambda *_: None
        self._row_decoder = msgspec.msgpack.Decoder(ItemRow)

    # ---- what the broadcast brings ----

    def handlers(self) -> dict[str, Callable[[Any], None]]:
        return {"semantic-ids": self.on_card, "item-states": self.on_row, "checkpoints": self.on_checkpoint}

    def heal_with(self, heal: Callable[[int, str, ItemRow], None]) -> None:
        """`heal(partition, item, row)` is told of every row read, so that its owner can contradict an older one."""
        self._heal = heal

    def on_card(self, record: Any) -> None:
        item_id = record.key.decode()
        if record.value is None:
            handle = self.recommender.catalog.handles.get(item_id)
            self.recommender.remove(item_id)
            for binding in self._bindings():
                if handle is not None:
                    binding.remove(handle)
            return
        card = msgspec.json.decode(record.value, type=ItemCard)
        known = self.card(item_id)
        self.recommender.insert(card)
        handle = self.recommender.catalog.handles[item_id]
        for binding in self._bindings():
            binding.insert(handle, card)
        if known is None or known.published_at_ms != card.published_at_ms:
            self.metrics.became_recommendable(max(0.0, time.time() - card.published_at_ms / 1000))
            self.traces.live(card)

    def on_row(self, record: Any) -> None:
        if record.key == POSITION_KEY:
            url = decode_announcement(record.value).url
            if url:
                self.owners[record.partition] = url
            return
        if record.value is None:
            return
        item_id = record.key.decode()
        row = self._row_decoder.decode(record.value)
        if row.offset < self._offsets.get(item_id, -1):
            self._heal(record.partition, item_id, row)
            return
        self._offsets[item_id] = row.offset
        self.counters[item_id] = row.counters
        self.recommender.update(item_id, row)
        caused_at_ms = next((int(value) for name, value in record.headers if name == CAUSED_AT), 0)
        if caused_at_ms:
            self.metrics.embedded(max(0.0, time.time() - caused_at_ms / 1000))
            self.traces.engaged(item_id)

    def on_checkpoint(self, record: Any) -> None:
        if record.value is None:
            return
        if record.key == RANKER_KEY:
            self._ranker = msgspec.json.decode(record.value, type=RankerRecord)
            self._changed.set()
        elif record.key == b"model":
            try:
                read = msgspec.json.decode(record.value, type=CheckpointRecord)
            except msgspec.MsgspecError as error:
                log.error("a record on checkpoints is not one: %s", error)
                return
            self._consider(read)

    def _consider(self, read: CheckpointRecord) -> None:
        """What shall serve is the last thing that the log says about it."""
        self.records[read.checkpoint] = read
        if read.action in ("promote", "rollback") or read.verdict in SERVABLE:
            self._target = read
            self._changed.set()

    def _bindings(self) -> list[Binding]:
        """Every binding that follows the catalogue, each once."""
        bindings = [self.recommender.serving, self._previous, self._preparing]
        return [binding for place, binding in enumerate(bindings) if binding and binding not in bindings[:place]]

    # ---- what the worker asks ----

    @property
    def serving(self) -> Binding:
        return self.recommender.serving

    def codebook(self) -> Any:
        """The version that fresh uploads are assigned under."""
        return self.recommender.serving.codebook

    def card(self, item_id: str) -> ItemCard | None:
        catalog = self.recommender.catalog
        handle = catalog.handles.get(item_id)
        return catalog.cards[handle] if handle is not None else None

    def prefix_words(self, handle: int, limit: int = 5) -> list[str]:
        """Words that the items below the first code of this one share, the most frequent first."""
        cards = self.recommender.catalog.cards
        neighbours = [card for other in self.serving.neighbours(handle) if (card := cards[other]) is not None]
        return common_words(neighbours, limit)

    def cards(self, partition: int) -> list[ItemCard]:
        """Cards of the live items of one partition."""
        partitions = self.settings.kafka.partitions
        found = [card for card in self.recommender.catalog.cards if card is not None]
        return [card for card in found if partition_of(card.item_id, partitions) == partition]

    def owner_of(self, user_id: str) -> str | None:
        """The address of the worker that has this user's partition."""
        return self.owners.get(partition_of(user_id, self.settings.kafka.partitions))

    def now_s(self) -> float:
        """Event time: the highest time absorbed, or wall time once the stream is within an hour of it."""
        now = time.time()
        return now if now - self.recommender.now_s < 3600.0 else self.recommender.now_s

    async def recommend(self, request: Request, user: UserRow | None, *, degraded: bool = False) -> Answer:
        """The answer, made in the answering thread."""
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(
            self._answering, lambda: self.recommender.recommend(request, user, degraded=degraded)
        )
        self.traces.recommended(answer)
        return answer

    def examine(self, row: UserRow, event: Engagement) -> bytes | None:
        """Ranks a sampled engagement before it is learned from; returns the ranking example, encoded."""
        weight = self.settings.events.weights.get(event.kind, 0.0)
        if weight <= 0 or hash64(event.event_id) / 2.0**64 >= self.settings.serving.live_sample:
            return None
        now = time.monotonic()
        if now - self._sampled_at < 1.0 / SAMPLES_PER_S:
            return None
        self._sampled_at = now
        example = self.recommender.examine(row, event, weight)
        if example is None:
            return None
        slices = ["overall", example.task] + (["fresh"] if example.positives < 5 else [])
        self.live.add(self.serving.checkpoint, slices, 0 <= example.rank < 10)
        for name in slices:
            self.metrics.live_hits(10, name, self.live.slices[name].ratio)
        return msgspec.msgpack.encode(example)

    # ---- swap, watch and rollback ----

    async def run(self, caught_up: asyncio.Event) -> None:
        """Follows the checkpoints and watches over the serving one, until cancelled."""
        await caught_up.wait()
        while True:
            if self._changed.is_set():
                self._changed.clear()
                await self._follow()
                await self._follow_ranker()
            self._report()
            await self._watch()
            await self._maintain()
            try:
                await asyncio.wait_for(self._changed.wait(), timeout=1.0)
            except TimeoutError:
                continue

    async def _follow(self) -> None:
        target = self._target
        if target is None or target.checkpoint == self.serving.checkpoint:
            return
        if target.checkpoint == NO_CHECKPOINT:
            self._exchange(await self._prepare_empty(), "rolled_back")
        elif self._previous is not None and self._previous.checkpoint == target.checkpoint:
            self._exchange(self._previous, "rolled_back" if target.action == "rollback" else "swapped")
        else:
            await self._load(target)

    async def _follow_ranker(self) -> None:
        """Exchanges the ranker for the newest announced one. A file that is gone was followed by a newer one."""
        record, self._ranker = self._ranker, None
        if record is None:
            return
        loop = asyncio.get_running_loop()
        try:
            ranker = await loop.run_in_executor(self._loading, lambda: ranker_from(Path(record.location).read_bytes()))
        except (OSError, ValueError) as error:
            log.warning("ranker %s is not used: %s", record.ranker, error)
            return
        self.recommender.exchange_ranker(ranker)

    async def _load(self, target: CheckpointRecord) -> None:
        try:
            binding = await self._prepare(target)
        except Exception as error:
            log.error("checkpoint %s is not served: %s", target.checkpoint, error)
            self.note = f"checkpoint {target.checkpoint} is not served: {error}"
            self.metrics.swapped("failed")
            return
        finally:
            self._preparing = None
        self._exchange(binding, "rolled_back" if target.action == "rollback" else "swapped")

    async def _prepare(self, target: CheckpointRecord) -> Binding:
        """A binding with a full tree, ready to serve; everything slow happens in the loading thread."""
        from trainer.training_run import load_checkpoint

        location = Path(target.location)
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(
            self._loading, load_checkpoint, CheckpointFolder(location.parent), location.name
        )
        if loaded.manifest.verdict not in SERVABLE and target.action != "promote":
            raise ValueError(f"its verdict is {loaded.manifest.verdict}: promote it, or train another")
        binding = Binding(
            loaded.codebook,
            checkpoint=target.checkpoint,
            generator=loaded.generator,
            published_at=target.published_at,
            data_until=loaded.manifest.data_until,
            beams=self.settings.serving.beams,
        )
        return await self._fill(binding)

    async def _prepare_empty(self) -> Binding:
        return await self._fill(Binding(zero_codebook(self.settings), beams=self.settings.serving.beams))

    async def _fill(self, binding: Binding) -> Binding:
        """Fills the tree in the loading thread from a picture of the catalogue, then follows what changed meanwhile."""
        catalog = self.recommender.catalog
        picture = [(handle, card) for handle, card in enumerate(catalog.cards) if card is not None]
        fill = binding.insert_many
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._loading, fill, [h for h, _ in picture], [c for _, c in picture])
        known = dict(picture)
        for handle, card in enumerate(catalog.cards):
            before = known.get(handle)
            if card is not None and card is not before:
                binding.insert(handle, card)
            elif card is None and before is not None:
                binding.remove(handle)
        self._preparing = binding
        await loop.run_in_executor(self._loading, self._warm, binding)
        return binding

    def _warm(self, binding: Binding) -> None:
        """First answers of a model are slow; nobody waits for these."""
        catalog = self.recommender.catalog
        for handle in np.flatnonzero(catalog.live_N)[:4].tolist():
            request = Request(task="similar", item_id=catalog.ids[handle])
            binding.propose(request, None, catalog.handles, self.now_s())
        if binding.failures:
            raise ValueError("its model fails on a first request: see the log, and roll back or train again")
        binding.asked = 0

    def _exchange(self, binding: Binding, result: str) -> None:
        began = time.perf_counter()
        self._previous = self.recommender.exchange(binding)
        pause_s = time.perf_counter() - began
        self._swapped_at = time.monotonic()
        self.note = f"{result.replace('_', ' ')}: {self._previous.checkpoint} → {binding.checkpoint}"
        self.metrics.swapped(result, pause_s)
        log.info("%s in %.3f ms", self.note, pause_s * 1000)
        if binding.codebook.version != self._previous.codebook.version:
            self.on_codebook()

    async def _watch(self) -> None:
        serving, previous = self.serving, self._previous
        on_probation = time.monotonic() - self._swapped_at < self.settings.serving.watch_s
        if previous is None or not on_probation or serving.checkpoint == NO_CHECKPOINT:
            return
        harm = self.live.harm(serving.checkpoint, previous.checkpoint, self.settings.serving.rollback_ratio)
        if serving.asked >= 20 and serving.failures > 0.05 * serving.asked:
            harm = f"the model failed {serving.failures} of {serving.asked} requests"
        if harm is not None:
            await self._roll_back(serving, previous, harm)

    async def _roll_back(self, serving: Binding, previous: Binding, harm: str) -> None:
        log.warning("rolling back %s: %s", serving.checkpoint, harm)
        self._exchange(previous, "rolled_back")
        self._previous = None
        self.note = f"rolled back {serving.checkpoint} → {previous.checkpoint}: {harm}"
        known = self.records.get(previous.checkpoint)
        record = CheckpointRecord(
            checkpoint=previous.checkpoint,
            parent=known.parent if known else None,
            location=known.location if known else "",
            verdict=known.verdict if known else "passed",
            published_at=time.time(),
            action="rollback",
        )
        await self._emitter.send("checkpoints", msgspec.json.encode(record), key=b"model")

    async def _maintain(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._loading, self.recommender.maintain)
        except Exception:
            log.exception("the vector space was not fitted again; the one before it goes on serving")

    def _report(self) -> None:
        serving = self.serving
        self.metrics.live_items(self.recommender.catalog.live_count)
        if serving.checkpoint != NO_CHECKPOINT:
            self.metrics.serving(data_until=serving.data_until, published_at=serving.published_at)

    def close(self) -> None:
        self._answering.shutdown(wait=False, cancel_futures=True)
        self._loading.shutdown(wait=False, cancel_futures=True)
