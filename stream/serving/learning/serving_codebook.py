"""Serving codebook: the version under which uploads get their codes, for a worker that answers nothing.

It follows `checkpoints` as scorers do, and reads of each checkpoint the codebook only; what a scorer would refuse to
serve (a verdict, a damaged file), it does not take up either.

Invariant: a codebook that cannot be read leaves the one before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store.checkpoints import CODEBOOK, SERVABLE, CheckpointError, CheckpointRecord, record_in, verify
from store.settings import Settings
from stream.serving.preparing.announced import Announced
from trainer.model_bundle import NO_CHECKPOINT, ModelBundle
from trainer.semantic_ids.codebook import Codebook, zero_codebook
from trainer.semantic_ids.files import load_codebook

log = logging.getLogger(__name__)


class ServingCodebook:
    """Of one worker. `changed` is called when another version serves."""

    def __init__(self, settings: Settings, changed: Callable[[], None]) -> None:
        self.checkpoint = NO_CHECKPOINT
        self.bundle = ModelBundle(zero_codebook(settings))
        self._settings = settings
        self._changed = changed
        self._announced = Announced(lambda: [self.checkpoint])
        self._news = asyncio.Event()

    @property
    def codebook(self) -> Codebook:
        return self.bundle.codebook

    def on_checkpoint(self, record: Any) -> None:
        """Reads a record of `checkpoints`. Raises `ForeignRecordError`."""
        found = record_in(record.key, record.value)
        if isinstance(found, CheckpointRecord) and self._announced.checkpoint(found):
            self._news.set()

    async def run(self, caught_up: asyncio.Event) -> None:
        """Follows until cancelled."""
        await caught_up.wait()
        while True:
            await self._news.wait()
            self._news.clear()
            await self._follow()

    async def _follow(self) -> None:
        """What was announced last. While nothing serves, one before it is better than none: the last one may lie
        nowhere."""
        tried: set[str] = set()
        for target in list(self._announced.targets)[::-1]:
            if target.checkpoint not in tried:
                tried.add(target.checkpoint)
                await self._take_up(target)
            if self.checkpoint != NO_CHECKPOINT or target.checkpoint == NO_CHECKPOINT:
                return

    async def _take_up(self, target: CheckpointRecord) -> None:
        if target.checkpoint == self.checkpoint:
            return
        try:
            codebook = await asyncio.to_thread(self._read, target)
        except (CheckpointError, OSError, ValueError) as error:
            log.error("the codebook of checkpoint %s is not taken up: %s", target.checkpoint, error)
            return
        before, self.checkpoint = self.codebook.version, target.checkpoint
        if codebook.version != before:
            self.bundle = ModelBundle(codebook)
            log.info("uploads get their codes by %s now, no longer by %s", codebook.version, before)
            self._changed()

    def _read(self, target: CheckpointRecord) -> Codebook:
        """Raises `CheckpointError`, `OSError` or `ValueError`, which say what is wrong and what to do."""
        if target.checkpoint == NO_CHECKPOINT:
            return zero_codebook(self._settings)
        path = Path(target.location)
        manifest = verify(path)
        if manifest.verdict not in SERVABLE and target.action != "promote":
            raise ValueError(f"its verdict is {manifest.verdict}: promote it, or train another")
        return load_codebook(path / CODEBOOK / manifest.codebook)
