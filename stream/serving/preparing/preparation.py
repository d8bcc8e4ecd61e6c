"""Preparation: from the record of a checkpoint to a bundle that can serve at once.

Everything slow (hashes, weights, the tree, first answers) happens in the loading thread. What the catalogue learns
meanwhile is noted and taken over at the end, so the event loop never walks the whole catalogue: with a million items
that held up answers.

Invariant: a bundle that is handed out holds exactly the live items of the catalogue, and its model has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from store.checkpoints import SERVABLE, CheckpointFolder, CheckpointRecord, RankerRecord
from store.items import ItemCard
from store.requests import Request
from store.settings import Settings
from trainer.model_bundle import ModelBundle, popularity_in
from trainer.ranking.ranker import Ranker, ranker_from
from trainer.recommender import Recommender
from trainer.semantic_ids.codebook import zero_codebook

MOST_RANKER_BYTES = 1 << 30
MOST_AT_ONCE = 100
"""So many changes are taken over by the event loop in one go; more go through the thread first."""
_Made = TypeVar("_Made")


class Preparation:
    """Of one recommender, one bundle at a time. `bundle`: a filled one that is warmed, and follows the catalogue."""

    def __init__(self, settings: Settings, recommender: Recommender) -> None:
        self.bundle: ModelBundle | None = None
        self._settings = settings
        self._recommender = recommender
        self._meanwhile: dict[int, ItemCard | None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")

    def changed(self, handle: int, card: ItemCard | None) -> None:
        """An item came or was edited, or went (None), while a bundle may be on its way."""
        if self._meanwhile is not None:
            self._meanwhile[handle] = card

    async def of_checkpoint(self, target: CheckpointRecord, published_at: float) -> ModelBundle:
        """Raises `CheckpointError`, `ValueError` or `OSError`, which say what is wrong and what to do."""
        from trainer.checkpoint_loading import load_checkpoint  # torch comes with it

        location = Path(target.location)
        loaded = await self._apart(lambda: load_checkpoint(CheckpointFolder(location.parent), location.name))
        if loaded.manifest.verdict not in SERVABLE and target.action != "promote":
            raise ValueError(f"its verdict is {loaded.manifest.verdict}: promote it, or train another")
        bundle = ModelBundle(
            loaded.codebook,
            checkpoint=target.checkpoint,
            generator=loaded.generator,
            published_at=published_at,
            data_until=loaded.manifest.data_until,
            beams=self._settings.serving.beams,
            published=self._recommender.published,
            history=self._settings.model.history,
            popularity=popularity_in(loaded.manifest),
        )
        return await self._ready(bundle)

    async def of_none(self) -> ModelBundle:
        """What serves without a checkpoint."""
        return await self._ready(ModelBundle(zero_codebook(self._settings), beams=self._settings.serving.beams))

    async def ranker(self, record: RankerRecord) -> Ranker:
        """Raises `OSError` or `ValueError`."""
        return await self._apart(lambda: _read_ranker(Path(record.location)))

    async def _apart(self, work: Callable[[], _Made]) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _ready(self, bundle: ModelBundle) -> ModelBundle:
        try:
            await self._fill(bundle)
            await self._apart(lambda: self._warm(bundle))
        finally:
            self.bundle = self._meanwhile = None
        return bundle

    async def _fill(self, bundle: ModelBundle) -> None:
        """The last step is one of the event loop: nothing changes between what is taken over and what then follows."""
        self._meanwhile = {}
        cards = self._recommender.catalog.cards.items()
        await self._apart(lambda: bundle.fill(cards))
        while len(self._meanwhile) > MOST_AT_ONCE:
            some, self._meanwhile = self._meanwhile, {}
            await self._apart(partial(_follow, bundle, some))
        _follow(bundle, self._meanwhile)
        self.bundle, self._meanwhile = bundle, None

    def _warm(self, bundle: ModelBundle) -> None:
        """First answers of a model are slow; nobody waits for these."""
        catalog = self._recommender.catalog
        for handle in np.flatnonzero(catalog.live_N)[:4].tolist():
            request = Request(task="similar", item_id=catalog.ids[handle])
            bundle.expect(request, None, catalog.handles, self._recommender.now_s)
        if bundle.failures:
            raise ValueError("its model fails on a first request: see the log, and roll back or train again")
        bundle.forget_warming()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _follow(bundle: ModelBundle, changes: Mapping[int, ItemCard | None]) -> None:
    for handle, card in changes.items():
        if card is None:
            bundle.remove(handle)
        else:
            bundle.insert(handle, card)


def _read_ranker(path: Path) -> Ranker:
    """What the file holds: a foreign record may name any file of the machine, and some never end."""
    if path.exists() and not (path.is_file() and path.stat().st_size <= MOST_RANKER_BYTES):
        raise ValueError(f"{path} is no ranker's file")
    return ranker_from(path.read_bytes())
