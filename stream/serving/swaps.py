"""Swaps: which checkpoint serves, and the watch over it.

A new checkpoint is loaded, checked and warmed in the loading thread, then one reference is exchanged between two
answers. For the watch period it is on probation (`stream.serving.watching.probation`): if its own answers, its
calibration or its errors are past their bounds, the one before it returns at once, and a record on `checkpoints` tells
the other scorers.

Invariants: a served checkpoint has passed the gate, or a person promoted it; a failed load leaves what serves alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from store.checkpoints import CHECKPOINT_KEY, SERVABLE, CheckpointFolder, CheckpointRecord, RankerRecord, record_in
from store.files.crash_points import reached
from store.records.foreign import ForeignRecordError, ForeignRecords
from store.requests import Request
from store.settings import Settings
from store.topics import CHECKPOINTS
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.serving.watching.probation import Probation
from trainer.examples import RankedEngagement
from trainer.model_bundle import NO_CHECKPOINT, ModelBundle, popularity_in
from trainer.own_answers import answer_of_popularity, own_answer
from trainer.ranking.ranker import Ranker, ranker_from
from trainer.recommender import Recommender
from trainer.semantic_ids.codebook import zero_codebook

log = logging.getLogger(__name__)

FORMER = 100
"""So many of the newest checkpoint records are remembered, for when the last one cannot be followed."""
MOST_RANKER_BYTES = 1 << 30


class Swaps:
    """Follows `checkpoints` for one recommender. `records`: what was announced, oldest first; `note`: the last thing
    that a person should know; `codebook_changed` is called when another codebook version serves."""

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics,
        emitter: Emitter,
        recommender: Recommender,
        codebook_changed: Callable[[], None] = lambda: None,
        foreign: ForeignRecords | None = None,
    ) -> None:
        self._foreign = foreign or ForeignRecords()
        self._given_up: CheckpointRecord | None = None
        self.records: OrderedDict[str, CheckpointRecord] = OrderedDict()
        self.note = ""
        self._settings = settings
        self._metrics = metrics
        self._emitter = emitter
        self._recommender = recommender
        self._codebook_changed = codebook_changed
        self._previous: ModelBundle | None = None
        self._preparing: ModelBundle | None = None
        self._targets: deque[CheckpointRecord] = deque(maxlen=FORMER)
        self._rankers: deque[RankerRecord] = deque(maxlen=FORMER)
        self._changed = asyncio.Event()
        self._published_at: dict[str, float] = {}
        self._swapped_at = 0.0
        self._probation: Probation | None = None
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="load")

    @property
    def serving(self) -> ModelBundle:
        return self._recommender.serving

    def bundles(self) -> list[ModelBundle]:
        """Every bundle that follows the catalogue, each once."""
        bundles = [self.serving, self._previous, self._preparing]
        return [bundle for place, bundle in enumerate(bundles) if bundle and bundle not in bundles[:place]]

    def on_checkpoint(self, record: Any) -> None:
        try:
            found = record_in(record.key, record.value)
        except ForeignRecordError as error:
            self._foreign.met(CHECKPOINTS, record, error)
            return
        if isinstance(found, RankerRecord):
            self._rankers.append(found)
            self._changed.set()
        elif isinstance(found, CheckpointRecord):
            self._consider(found)

    def _consider(self, read: CheckpointRecord) -> None:
        """What shall serve is the last thing that the log says about it."""
        self.records[read.checkpoint] = read
        self._published_at.setdefault(read.checkpoint, read.published_at)
        if read.action in ("promote", "rollback") or read.verdict in SERVABLE:
            self._targets.append(read)
            self._changed.set()

    async def run(self, caught_up: asyncio.Event) -> None:
        """Follows the checkpoints and watches over the serving one, until cancelled."""
        await caught_up.wait()
        while True:
            if self._changed.is_set():
                self._changed.clear()
                await self._follow()
                await self._follow_ranker()
            await self._watch()
            try:
                await asyncio.wait_for(self._changed.wait(), timeout=1.0)
            except TimeoutError:
                continue

    async def _follow(self) -> None:
        """What was announced last shall serve. While nothing serves, one before it is better than none: the last one
        may lie nowhere."""
        tried: set[str] = set()
        for target in list(self._targets)[::-1]:
            if target.checkpoint not in tried:
                tried.add(target.checkpoint)
                await self._exchange_for(target)
            if self.serving.checkpoint != NO_CHECKPOINT or target.checkpoint == NO_CHECKPOINT:
                return

    async def _exchange_for(self, target: CheckpointRecord) -> None:
        if target.checkpoint == self.serving.checkpoint or target is self._given_up:
            return
        if target.checkpoint == NO_CHECKPOINT:
            self._exchange(await self._prepare_empty(), "rolled_back")
        elif self._previous is not None and self._previous.checkpoint == target.checkpoint:
            self._exchange(self._previous, "rolled_back" if target.action == "rollback" else "swapped")
        else:
            await self._load(target)

    async def _follow_ranker(self) -> None:
        """Exchanges the ranker for the newest announced one that can be read. A file that is gone was followed by a
        newer one."""
        loop = asyncio.get_running_loop()
        announced = [*self._rankers]
        self._rankers.clear()
        for record in reversed(announced):
            try:
                ranker = await loop.run_in_executor(self._loading, _read_ranker, Path(record.location))
            except (OSError, ValueError) as error:
                log.warning("ranker %s is not used: %s", record.ranker, error)
            else:
                self._recommender.exchange_ranker(ranker)
                return

    async def _load(self, target: CheckpointRecord) -> None:
        try:
            bundle = await self._prepare(target)
        except Exception as error:
            log.error("checkpoint %s is not served: %s", target.checkpoint, error)
            self.note = f"checkpoint {target.checkpoint} is not served: {error}"
            self._metrics.swapped("failed")
            self._given_up = target
            return
        finally:
            self._preparing = None
        reached("swap_loaded")
        self._exchange(bundle, "rolled_back" if target.action == "rollback" else "swapped")

    async def _prepare(self, target: CheckpointRecord) -> ModelBundle:
        """A bundle with a full tree, ready to serve; everything slow happens in the loading thread."""
        from trainer.checkpoint_loading import load_checkpoint  # torch comes with it

        location = Path(target.location)
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(
            self._loading, load_checkpoint, CheckpointFolder(location.parent), location.name
        )
        if loaded.manifest.verdict not in SERVABLE and target.action != "promote":
            raise ValueError(f"its verdict is {loaded.manifest.verdict}: promote it, or train another")
        bundle = ModelBundle(
            loaded.codebook,
            checkpoint=target.checkpoint,
            generator=loaded.generator,
            published_at=self._published_at[target.checkpoint],  # not when somebody returned to it
            data_until=loaded.manifest.data_until,
            beams=self._settings.serving.beams,
            published=self._recommender.published,
            history=self._settings.model.history,
            popularity=popularity_in(loaded.manifest),
        )
        return await self._fill(bundle)

    async def _prepare_empty(self) -> ModelBundle:
        return await self._fill(ModelBundle(zero_codebook(self._settings), beams=self._settings.serving.beams))

    async def _fill(self, bundle: ModelBundle) -> ModelBundle:
        """Fills the tree in the loading thread from a picture of the catalogue, then follows what changed meanwhile."""
        catalog = self._recommender.catalog
        picture = [(handle, card) for handle, card in enumerate(catalog.cards) if card is not None]
        fill = bundle.insert_many
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._loading, fill, [h for h, _ in picture], [c for _, c in picture])
        known = dict(picture)
        for handle, card in enumerate(catalog.cards):
            before = known.get(handle)
            if card is not None and card is not before:
                bundle.insert(handle, card)
            elif card is None and before is not None:
                bundle.remove(handle)
        self._preparing = bundle
        await loop.run_in_executor(self._loading, self._warm, bundle)
        return bundle

    def _warm(self, bundle: ModelBundle) -> None:
        """First answers of a model are slow; nobody waits for these."""
        catalog = self._recommender.catalog
        for handle in np.flatnonzero(catalog.live_N)[:4].tolist():
            request = Request(task="similar", item_id=catalog.ids[handle])
            bundle.expect(request, None, catalog.handles, self._recommender.now_s)
        if bundle.failures:
            raise ValueError("its model fails on a first request: see the log, and roll back or train again")
        bundle.asked = 0

    def _exchange(self, bundle: ModelBundle, result: str) -> None:
        began = time.perf_counter()
        self._previous = self._recommender.exchange(bundle)
        pause_s = time.perf_counter() - began
        self._swapped_at = time.monotonic()
        self._probation = self._begin_probation(self._previous) if result == "swapped" else None
        self.note = f"{result.replace('_', ' ')}: {self._previous.checkpoint} → {bundle.checkpoint}"
        self._metrics.swapped(result, pause_s)
        log.info("%s in %.3f ms", self.note, pause_s * 1000)
        reached("swapped")
        if bundle.codebook.version != self._previous.codebook.version:
            self._codebook_changed()

    def watch(self, ranked: RankedEngagement) -> None:
        """Takes in an engagement as it was ranked before it was learned from."""
        serving, previous, ranking = self.serving, self._previous, ranked.ranking
        if self.probation is None or previous is None or ranking.moment.bundle is not serving:
            return
        handle = self._recommender.catalog.handles[ranked.example.item_id]
        new, before = own_answer(serving, ranking, handle), own_answer(previous, ranking, handle)
        if previous.checkpoint == NO_CHECKPOINT:
            before = answer_of_popularity(serving.popularity, ranking, handle)
        if new is not None and before is not None:
            self.probation.add(new, before)

    @property
    def probation(self) -> Probation | None:
        """Of the serving checkpoint, while it lasts. One that somebody returned to has none: it is known."""
        return self._probation if self._watching else None

    @property
    def _watching(self) -> bool:
        return time.monotonic() - self._swapped_at < self._settings.serving.watch_s

    def _begin_probation(self, previous: ModelBundle) -> Probation:
        """Beside popularity a first model must do what the gate asks of one."""
        first = previous.checkpoint == NO_CHECKPOINT
        settings = self._settings
        return Probation(settings.training.gate_floor if first else settings.serving.rollback_ratio)

    async def _watch(self) -> None:
        serving, previous = self.serving, self._previous
        if previous is None or not self._watching or serving.checkpoint == NO_CHECKPOINT:
            return
        harm = self._probation.harm() if self._probation is not None else None
        if serving.asked >= 20 and serving.failures > 0.05 * serving.asked:
            harm = f"the model failed {serving.failures} of {serving.asked} requests"
        if harm is not None:
            await self._roll_back(serving, previous, harm)

    async def _roll_back(self, serving: ModelBundle, previous: ModelBundle, harm: str) -> None:
        log.warning("rolling back %s: %s", serving.checkpoint, harm)
        self._exchange(previous, "rolled_back")
        reached("rolled_back")
        self._previous = None
        self.note = f"rolled back {serving.checkpoint} → {previous.checkpoint}: {harm}"
        known = self.records.get(previous.checkpoint) or _nothing_before(previous)
        record = msgspec.structs.replace(known, action="rollback", published_at=time.time(), reason=harm)
        await self._emitter.send(CHECKPOINTS, msgspec.json.encode(record), key=CHECKPOINT_KEY)

    def close(self) -> None:
        self._loading.shutdown(wait=False, cancel_futures=True)


def _read_ranker(path: Path) -> Ranker:
    """What the file holds: a foreign record may name any file of the machine, and some never end."""
    if path.exists() and not (path.is_file() and path.stat().st_size <= MOST_RANKER_BYTES):
        raise ValueError(f"{path} is no ranker's file")
    return ranker_from(path.read_bytes())


def _nothing_before(empty: ModelBundle) -> CheckpointRecord:
    """What is true of serving without a checkpoint: nothing lies anywhere, and nothing was ever judged."""
    return CheckpointRecord(
        checkpoint=empty.checkpoint,
        parent=None,
        location="",
        verdict="pending",
        published_at=empty.published_at,
        codebook=empty.codebook.version,
    )
