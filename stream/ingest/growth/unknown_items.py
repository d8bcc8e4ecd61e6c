"""Unknown items: engagements with ids that nobody has uploaded, or that were taken down, counted and told.

They come from crawlers, and from faults in front ends, and may never end. What they cost is bounded elsewhere: their
rows and vectors are read from disk when they are needed (`store.rows`, `store.embeddings`), and take no place in what
answers (`stream.serving.uncatalogued`). Here an operator learns of them.

Invariant: nothing is called unknown before all cards have been read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from stream.metrics.metrics import Metrics

log = logging.getLogger(__name__)

TELL_EVERY_S = 60.0
WORTH_TELLING = 100
"""Engagements in that time: fewer are those that came before their item's upload."""


class UnknownItems:
    """Which items are unknown, and how many engagements they had. `is_unknown` says so of an item now."""

    def __init__(
        self,
        is_unknown: Callable[[str], bool],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_unknown = is_unknown
        self._metrics = metrics
        self._clock = clock
        self._count = 0
        self._since = -TELL_EVERY_S

    def may_last(self, item_id: str) -> bool:
        """Whether what is known of an item is worth memory: unknown ids come without end, and most of them once."""
        return not self.is_unknown(item_id)

    def either(self, item_id: str, unknown: float, known: float) -> float:
        """The number that holds for an item, of that for unknown ones and that for others."""
        return unknown if self.is_unknown(item_id) else known

    def absorbed(self, item_id: str) -> None:
        """An engagement with an unknown item was absorbed."""
        self._metrics.unknown_engaged()
        self._count += 1
        if self._count >= WORTH_TELLING and self._clock() - self._since >= TELL_EVERY_S:
            log.warning(
                "%s engagements came with items that are not in the catalogue (never uploaded, or taken down), the "
                "last one with %r: a crawler, or a fault in a front end? Upload the items, or do not publish these",
                *(self._count, item_id[:200]),
            )
            self._count, self._since = 0, self._clock()
