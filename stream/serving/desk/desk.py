"""The desk: implements `stream.web.console.contract.Desk` from the parts of a worker.

What waits for a disk or a broker does so in one thread, so that a person who looks takes nothing from who asks for
recommendations. Levers and replays have a client of their own: if it fails, that is told, and nothing else fails.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from kafka.errors import KafkaError

from store.checkpoints import CHECKPOINT_KEY, MANIFEST, CheckpointError, Manifest, read_manifest
from store.records.levers import Lever, pulled
from store.requests import DeskError
from store.settings import Settings
from store.topics import CHECKPOINTS
from stream.kafka.connections import BrokerUnavailableError, close_producer, connect_producer
from stream.kafka.deliveries import DeliveryError
from stream.kafka.topics import TopicsError
from stream.serving.desk import letters, topic_map
from stream.serving.desk.lineage import Lineage
from stream.serving.desk.owners import Owners
from stream.serving.scorer import Scorer
from trainer.model_bundle import NO_CHECKPOINT

ANSWER_S = 15.0
"""So long a lever's record may take to be safe on the log."""
MOST_MANIFEST_BYTES = 16 << 20
MOST_WAITING = 4
"""Looks and acts that may wait for the thread."""
_Answer = TypeVar("_Answer")


class WorkerDesk:
    """Of one worker. `lineage` is fed with the records of `checkpoints`."""

    def __init__(self, settings: Settings, *, scorer: Scorer, lineage: Lineage, owners: Owners) -> None:
        self._settings = settings
        self._scorer = scorer
        self._lineage = lineage
        self._owners = owners
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="desk")

    async def _apart(self, work: Callable[[], _Answer]) -> _Answer:
        """Done in the thread. Raises `DeskError` for what can go wrong there."""
        if self._waiting >= MOST_WAITING:
            raise DeskError("others look or act at this moment: come again in some seconds")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (CheckpointError, BrokerUnavailableError, DeliveryError, TopicsError, KafkaError, OSError) as error:
            raise DeskError(str(error) or repr(error)) from error
        finally:
            self._waiting -= 1

    # ---- checkpoints ----

    def _serving(self) -> str | None:
        serving = self._scorer.serving.checkpoint
        return None if serving == NO_CHECKPOINT else serving

    def lineage(self) -> dict[str, Any]:
        return {"serving": self._serving(), "note": self._scorer.swaps.note, **self._lineage.told()}

    async def checkpoint(self, checkpoint: str) -> dict[str, Any] | None:
        if self._lineage.checkpoint(checkpoint) is None:
            return None
        manifest, _ = await self._apart(partial(self._manifest, checkpoint))
        return {**msgspec.to_builtins(manifest), "log": {}, "files": {}}

    def _manifest(self, checkpoint: str) -> tuple[Manifest, Path]:
        """The manifest of a checkpoint that was announced, and where it lies: in the folder of the settings, or where
        its record says."""
        folder = self._settings.checkpoint_folder() / checkpoint
        known = self._lineage.checkpoint(checkpoint)
        location = folder.resolve() if folder.is_dir() or known is None else Path(known["location"])
        file = location / MANIFEST
        if file.exists() and not (file.is_file() and file.stat().st_size <= MOST_MANIFEST_BYTES):
            raise CheckpointError(f"{file} is no manifest: find who announced {checkpoint}")
        return read_manifest(location), location

    async def pull(self, lever: Lever, checkpoint: str, seen_serving: str | None) -> None:
        if self._lineage.checkpoint(checkpoint) is None:
            raise DeskError(f"no checkpoint {checkpoint} was ever announced: look again", conflict=True)
        if seen_serving != self._serving():
            raise DeskError(f"{self._serving() or 'no checkpoint'} serves by now: look again", conflict=True)
        await self._apart(partial(self._pull, lever, checkpoint))

    def _pull(self, lever: Lever, checkpoint: str) -> None:
        manifest, location = self._manifest(checkpoint)
        record = pulled(lever, manifest, location, time.time())
        topic = self._settings.topic(CHECKPOINTS)
        producer = connect_producer(self._settings)
        try:
            producer.send(topic, key=CHECKPOINT_KEY, value=msgspec.json.encode(record)).get(timeout=ANSWER_S)
        except KafkaError as error:
            raise DeliveryError(
                f"not known to be on the log ({error}): look what serves before you try again"
            ) from None
        finally:
            close_producer(producer)

    # ---- what was refused, who owns what, what the codes are about ----

    async def letters(self) -> dict[str, Any]:
        return await self._apart(partial(letters.look, self._settings))

    async def replay(self, places: Sequence[tuple[int, int]]) -> dict[str, Any]:
        return await self._apart(partial(letters.send_again, self._settings, places))

    async def owners(self) -> dict[str, Any]:
        return await self._owners.told()

    async def topics(self, prefix: Sequence[int]) -> dict[str, Any] | None:
        bundle, cards = self._scorer.serving, self._scorer.recommender.catalog.cards
        return await self._apart(partial(topic_map.look, bundle, cards, prefix))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
