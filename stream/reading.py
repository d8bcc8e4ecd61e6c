"""Reading: what a worker reads whole, of all items and users, and who is given it: a scorer, or a learner.

A learner needs no row at once, so for it rows gather longer: those of popular items come many times a second, and of
those that came together only the furthest is looked at.

Invariant: a worker has caught up once everything that lay on these topics at its start has been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from store.items import ItemCard
from store.records.foreign import ForeignRecords
from store.settings import Settings
from store.topics import CHECKPOINTS, FORGOTTEN_USERS, ITEM_STATES
from stream.ingest.user_partition import Scoring
from stream.serving.attribution import Attribution
from stream.serving.frequency import Frequency
from stream.serving.reading.broadcast import Broadcast
from trainer.items.vector_learning import Published
from trainer.semantic_ids.codebook import Codebook

ROWS_GATHER_S, ROWS_BATCH = 1.0, 1000
"""For a learner."""

Handler = Callable[[Any], None]


class Known(Protocol):
    """What is known of all items and users: `stream.serving.scorer.Scorer`, where this worker answers, or
    `stream.serving.learning.learner.Learner`."""

    attribution: Attribution
    frequency: Frequency

    def handlers(self) -> dict[str, Handler]: ...

    def batch_handlers(self) -> dict[str, Callable[[Sequence[Any]], None]]: ...

    def on_checkpoint(self, record: Any) -> None: ...

    def on_forgotten(self, record: Any) -> None: ...

    def forgotten_at_ms(self, user_id: str) -> int: ...

    def codebook(self) -> Codebook: ...

    def card(self, item_id: str) -> ItemCard | None: ...

    def owner_of(self, user_id: str) -> str | None: ...

    def work(self, caught_up: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]: ...

    def close(self) -> None: ...

    @property
    def published(self) -> Published: ...

    @property
    def scoring(self) -> Scoring: ...

    @property
    def owner_urls(self) -> dict[int, str]: ...


class Reading:
    """Of one worker. `on_checkpoint` and `on_forgotten` are given these records in place of `known`."""

    def __init__(
        self, settings: Settings, known: Known, on_checkpoint: Handler, on_forgotten: Handler, foreign: ForeignRecords
    ) -> None:
        handlers = {**known.handlers(), CHECKPOINTS: on_checkpoint, FORGOTTEN_USERS: on_forgotten}
        if settings.work.answers:
            broadcast = Broadcast(settings, handlers, known.batch_handlers(), later=(ITEM_STATES,), foreign=foreign)
            self._broadcasts = [broadcast]
        else:
            rows = Broadcast(
                settings, {}, known.batch_handlers(), foreign=foreign, gather_s=ROWS_GATHER_S, batch=ROWS_BATCH
            )
            self._broadcasts = [Broadcast(settings, handlers, foreign=foreign), rows]

    @property
    def caught_up(self) -> asyncio.Event:
        """Set once everything has been read that was there at the start: rows come last."""
        return self._broadcasts[-1].caught_up

    def is_news(self, record: Any) -> bool:
        """Whether a record came to its topic after the start."""
        return self._broadcasts[0].is_news(record)

    async def run(self) -> None:
        """Reads until cancelled."""
        async with asyncio.TaskGroup() as group:
            for broadcast in self._broadcasts:
                group.create_task(broadcast.run())
                await broadcast.caught_up.wait()
