"""Contract: what the page for people on call needs of a worker, beside `stream.web.contract`.

Invariant: what a method returns is JSON already; what is not known is None. Every method may raise `DeskError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from store.records.levers import Lever


class Desk(Protocol):
    """A worker as the page sees it. Parameters are checked before they come here."""

    def lineage(self) -> dict[str, Any]:
        """`serving`, `note`, `checkpoints`, `acts` (who had which serve) and `runs`, oldest first."""

    async def checkpoint(self, checkpoint: str) -> dict[str, Any] | None:
        """The manifest of one, with the gate's figures; None for one that was never announced."""

    async def pull(self, lever: Lever, checkpoint: str, seen_serving: str | None) -> None:
        """Has every scorer serve a checkpoint, if what serves is what the person saw."""

    async def letters(self) -> dict[str, Any]:
        """The newest dead letters, with how many there are for each reason."""

    async def replay(self, places: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """Publishes letters (partition, offset) again; `sent` and `left`."""

    async def owners(self) -> dict[str, Any]:
        """`partitions`, `workers` and `canaries`."""

    async def topics(self, prefix: Sequence[int]) -> dict[str, Any] | None:
        """What lies below a prefix of codes; None when no live item has it."""
