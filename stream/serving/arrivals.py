"""Arrivals: what a scorer tells of what the broadcast brings: freshness, the stages of traces, canaries.

What lay on the log when this process started was read by others when it was new, or by this worker before it started:
to observe it again would make every restart an outage. What comes after the start is observed with its whole age,
however long nobody was there to read it.

Invariant: an event is observed by a scorer at most once, and none that came after its start is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from store.headers import CANARY_AT, number_in
from store.items import ItemCard
from store.keys import RESERVED
from store.records.foreign import ForeignRecordError
from stream.kafka.state_topics import CAUSED_AT
from stream.metrics.metrics import Metrics
from stream.serving.traces import Traces
from stream.tracing.stages import Stages


class Arrivals:
    """Of one scorer. `is_news`: whether a record came to its topic after the start; until it is set, every one did.
    `stages`: what tells of traced records, if anything does."""

    def __init__(self, metrics: Metrics, traces: Traces) -> None:
        self.is_news: Callable[[Any], bool] = lambda _: True
        self.stages: Stages | None = None
        self._metrics = metrics
        self._traces = traces

    def canary(self, record: Any, item_id: str) -> bool:
        """Whether a record of `semantic-ids` is of a canary: then it says how far uploads have come, and is no item's.
        Raises `ForeignRecordError` for an item under such an id."""
        if not item_id.startswith(RESERVED):
            return False
        at_ms = number_in(record.headers, CANARY_AT, -1)
        if record.value is not None or at_ms < 0:
            raise ForeignRecordError(f"{item_id!r} is the id of a canary, not of an item")
        self._metrics.canaries.came("upload_to_recommendable", record.partition, at_ms)
        return True

    def position(self, record: Any) -> None:
        """A position of `item-states` may say how far engagements have come."""
        at_ms = number_in(record.headers, CANARY_AT, -1)
        self._metrics.canaries.came("engagement_to_embedding", record.partition, at_ms)

    def card(self, record: Any, card: ItemCard, known: ItemCard | None) -> None:
        """A card is in the live tree; `known`: the one before it."""
        if known is not None and known.published_at_ms == card.published_at_ms:
            return
        if self.is_news(record):
            self._metrics.became_recommendable(_age_s(card.published_at_ms))
            if self.stages is not None:
                self.stages.seen("recommendable", record, card.item_id)
        self._traces.live(card)

    def row(self, record: Any, item_id: str, is_further: bool) -> None:
        """A row of an item is in use, or one after it; `is_further`: than what was known of the item."""
        caused_at_ms = number_in(record.headers, CAUSED_AT, 0)
        if not caused_at_ms:
            return
        if is_further and self.is_news(record):
            self._metrics.embedded(_age_s(caused_at_ms))
            if self.stages is not None:
                self.stages.seen("visible", record, item_id)
        self._traces.engaged(item_id)


def _age_s(since_ms: int) -> float:
    return max(0.0, time.time() - since_ms / 1000)
