"""Swaps: which checkpoint serves, and the watch over it.

A new checkpoint is loaded, checked and warmed apart (`stream.serving.preparing`), then one reference is exchanged
between two answers. For the watch period it is on probation (`stream.serving.watching.probation`): if its own answers,
its calibration, its cost or its errors are past their bounds, the one before it returns at once, and a record on
`checkpoints` tells the other scorers.

Invariants: a served checkpoint has passed the gate, or a person promoted it; a failed load leaves what serves alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from store.checkpoints import CHECKPOINT_KEY, CheckpointRecord, RankerRecord, record_in
from store.files.crash_points import reached
from store.items import ItemCard
from store.records.foreign import ForeignRecordError, ForeignRecords
from store.settings import Settings
from store.topics import CHECKPOINTS
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.serving.preparing.announced import Announced
from stream.serving.preparing.preparation import Preparation
from stream.serving.watching.asking import Asking
from stream.serving.watching.harm import Harm, harm_by_cost, harm_by_failures
from stream.serving.watching.probation import Probation
from trainer.examples import RankedEngagement
from trainer.model_bundle import NO_CHECKPOINT, ModelBundle
from trainer.recommender import Recommender

log = logging.getLogger(__name__)

LOOK_S = 0.25
"""How often the watch looks at what it has seen: a checkpoint that does harm is gone as soon after."""


class Swaps:
    """Follows `checkpoints` for one recommender. `note`: the last thing that a person should know; `codebook_changed`
    is called when another codebook version serves."""

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
        self.note = ""
        self._settings = settings
        self._metrics = metrics
        self._emitter = emitter
        self._recommender = recommender
        self._codebook_changed = codebook_changed
        self._previous: ModelBundle | None = None
        self._announced = Announced(lambda: [bundle.checkpoint for bundle in self.bundles()])
        self._preparation = Preparation(settings, recommender)
        self._changed = asyncio.Event()
        self._swapped_at = 0.0
        self._asking: Asking | None = None

    @property
    def serving(self) -> ModelBundle:
        return self._recommender.serving

    @property
    def records(self) -> Mapping[str, CheckpointRecord]:
        """What was announced of each checkpoint last, the newest checkpoints, oldest first."""
        return self._announced.records

    def bundles(self) -> list[ModelBundle]:
        """Every bundle that follows the catalogue, each once."""
        bundles = [self.serving, self._previous, self._preparation.bundle]
        return [bundle for place, bundle in enumerate(bundles) if bundle and bundle not in bundles[:place]]

    def insert(self, handle: int, card: ItemCard) -> None:
        """An item is live in the catalogue, or was edited."""
        for bundle in self.bundles():
            bundle.insert(handle, card)
        self._preparation.changed(handle, card)

    def remove(self, handle: int) -> None:
        """An item is no longer live in the catalogue."""
        for bundle in self.bundles():
            bundle.remove(handle)
        self._preparation.changed(handle, None)

    def on_checkpoint(self, record: Any) -> None:
        try:
            found = record_in(record.key, record.value)
        except ForeignRecordError as error:
            self._foreign.met(CHECKPOINTS, record, error)
            return
        if isinstance(found, RankerRecord):
            self._announced.ranker(found)
            self._changed.set()
        elif isinstance(found, CheckpointRecord) and self._announced.checkpoint(found):
            self._changed.set()

    async def run(self, caught_up: asyncio.Event) -> None:
        """Follows the checkpoints and watches over the serving one, until cancelled: a verdict waits for no loading."""
        await caught_up.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_always())
            group.create_task(self._watch_always())

    async def _follow_always(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._follow()
            await self._follow_ranker()

    async def _watch_always(self) -> None:
        while True:
            await self._watch()
            await asyncio.sleep(LOOK_S)

    async def _follow(self) -> None:
        """What was announced last shall serve. While nothing serves, one before it is better than none: the last one
        may lie nowhere."""
        tried: set[str] = set()
        for target in list(self._announced.targets)[::-1]:
            if target.checkpoint not in tried:
                tried.add(target.checkpoint)
                await self._exchange_for(target)
            if self.serving.checkpoint != NO_CHECKPOINT or target.checkpoint == NO_CHECKPOINT:
                return

    async def _exchange_for(self, target: CheckpointRecord) -> None:
        if target.checkpoint == self.serving.checkpoint or target is self._given_up:
            return
        result = "rolled_back" if target.action == "rollback" else "swapped"
        if target.checkpoint == NO_CHECKPOINT:
            self._exchange(await self._preparation.of_none(), "rolled_back")
        elif self._previous is not None and self._previous.checkpoint == target.checkpoint:
            self._exchange(self._previous, result)
        elif (bundle := await self._loaded(target)) is not None:
            reached("swap_loaded")
            self._exchange(bundle, result)

    async def _loaded(self, target: CheckpointRecord) -> ModelBundle | None:
        try:
            return await self._preparation.of_checkpoint(target, self._announced.first_at(target))
        except Exception as error:
            log.error("checkpoint %s is not served: %s", target.checkpoint, error)
            self.note = f"checkpoint {target.checkpoint} is not served: {error}"
            self._metrics.swapped("failed")
            self._given_up = target
            return None

    async def _follow_ranker(self) -> None:
        """Exchanges the ranker for the newest announced one that can be read. A file that is gone was followed by a
        newer one."""
        for record in self._announced.take_rankers():
            try:
                ranker = await self._preparation.ranker(record)
            except (OSError, ValueError) as error:
                log.warning("ranker %s is not used: %s", record.ranker, error)
            else:
                self._recommender.exchange_ranker(ranker)
                return

    def _exchange(self, bundle: ModelBundle, result: str) -> None:
        time.sleep(0)  # another thread may be waiting for the interpreter: it has it now, not within the exchange
        began = time.perf_counter()
        self._previous = self._recommender.exchange(bundle)
        pause_s = time.perf_counter() - began
        self._swapped_at = time.monotonic()
        self._begin_watch(self._previous if result == "swapped" else None)
        self.note = f"{result.replace('_', ' ')}: {self._previous.checkpoint} → {bundle.checkpoint}"
        self._metrics.swapped(result, pause_s)
        log.info("%s in %.3f ms", self.note, pause_s * 1000)
        reached("swapped")
        if bundle.codebook.version != self._previous.codebook.version:
            self._codebook_changed()

    def watch(self, ranked: RankedEngagement) -> None:
        """Takes in an engagement as it was ranked before it was learned from."""
        if self._asking is not None and self._watching and ranked.ranking.moment.bundle is self.serving:
            self._asking.ask(ranked.ranking, self._recommender.catalog.handles[ranked.example.item_id])

    @property
    def asked_at_once(self) -> bool:
        """Whether the event loop may ask the model that serves, and so wait for it. One on probation may be slow."""
        return self.probation is None or self.serving.answers_within(self._settings.training.gate_answer_ms)

    @property
    def probation(self) -> Probation | None:
        """Of the serving checkpoint, while it lasts. One that somebody returned to has none: it is known."""
        return self._asking.probation if self._asking is not None and self._watching else None

    @property
    def _watching(self) -> bool:
        return time.monotonic() - self._swapped_at < self._settings.serving.watch_s

    def _begin_watch(self, previous: ModelBundle | None) -> None:
        """Beside popularity a first model must do what the gate asks of one. Without `previous` nothing is watched."""
        if self._asking is not None:
            self._asking.close()
        self._asking = None
        if previous is not None:
            gate, ratio = self._settings.training, self._settings.serving.rollback_ratio
            bound = gate.gate_floor if previous.checkpoint == NO_CHECKPOINT else ratio
            self._asking = Asking(Probation(bound, gate.gate_answer_ms), self.serving, previous)

    async def _watch(self) -> None:
        serving, previous = self.serving, self._previous
        if previous is None or not self._watching or serving.checkpoint == NO_CHECKPOINT:
            return
        costs = harm_by_cost(serving, previous, self._settings.training.gate_answer_ms)
        harm = harm_by_failures(serving) or costs or (self._asking.look() if self._asking is not None else None)
        if harm is not None:
            await self._roll_back(serving, previous, harm)

    async def _roll_back(self, serving: ModelBundle, previous: ModelBundle, harm: Harm) -> None:
        log.warning("rolling back %s: %s", serving.checkpoint, harm.reason)
        self._exchange(previous, "rolled_back")
        self._metrics.watch_rolled_back(harm.cause)
        reached("rolled_back")
        self._previous = None
        self._given_up = self._announced.last_target(serving.checkpoint)
        self.note = f"rolled back {serving.checkpoint} → {previous.checkpoint}: {harm.reason}"
        known = self.records.get(previous.checkpoint) or _nothing_before(previous)
        record = msgspec.structs.replace(known, action="rollback", published_at=time.time(), reason=harm.reason)
        await self._emitter.send(CHECKPOINTS, msgspec.json.encode(record), key=CHECKPOINT_KEY)

    def close(self) -> None:
        self._preparation.close()
        if self._asking is not None:
            self._asking.close()


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
