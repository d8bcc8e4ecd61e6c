"""The codebook's report: how well the serving version fits the live items, and what its first codes are about.

Measured in a thread from a picture of the catalogue: for `/v1/codebook`, `sidestream codebook show` and Prometheus.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import msgspec
import numpy as np

from store.items import ItemCard
from stream.metrics import Metrics
from trainer.binding import Binding
from trainer.codebook_health import CodebookHealth, health_of

SAMPLE = 500
"""Items of each age whose content is quantised again for the error."""
DAY_S = 86_400.0


class Topic(msgspec.Struct, kw_only=True, frozen=True):
    """One prefix: its codes, how many live items are below it, its words and titles of some of its items."""

    prefix: list[int]
    items: int
    words: list[str]
    examples: list[str]


class CodebookReport(msgspec.Struct, kw_only=True, frozen=True):
    """Health of a version and its largest topics."""

    health: CodebookHealth
    topics: list[Topic]

    def tell(self, metrics: Metrics) -> None:
        """Shows the health in Prometheus."""
        health = self.health
        metrics.codebook_measured(
            perplexities=[level.perplexity for level in health.levels],
            error=health.error_fresh or health.error_old,
            collision_ratio=health.collision_ratio,
        )


def measure(binding: Binding, cards: list[tuple[int, ItemCard]], now_s: float, topics: int = 24) -> CodebookReport:
    """The report of a binding over live items, given as (handle, card); fresh are those uploaded within a day."""
    codes = [(binding.tree.codes_of(handle), handle, card) for handle, card in cards]
    live = [(found, handle, card) for found, handle, card in codes if found is not None]
    codes_NL = np.array([found for found, _, _ in live], np.int32).reshape(len(live), binding.codebook.levels)
    fresh = [card for _, _, card in live if now_s - card.uploaded_at < DAY_S]
    old = [card for _, _, card in live if now_s - card.uploaded_at >= DAY_S]
    chance = Random(0)
    old_parts, fresh_parts = (
        [card.parts() for card in chance.sample(some, min(SAMPLE, len(some)))] for some in (old, fresh)
    )
    health = health_of(binding.codebook, codes_NL, old_parts, fresh_parts)
    return CodebookReport(health=health, topics=_topics(binding, live, topics))


def _topics(binding: Binding, live: list[tuple[tuple[int, ...], int, ItemCard]], most: int) -> list[Topic]:
    below: dict[int, list[str]] = defaultdict(list)
    for found, _, card in live:
        below[found[0]].append(card.title or card.item_id)
    largest = sorted(below, key=lambda code: (-len(below[code]), code))[:most]
    return [
        Topic(prefix=[code], items=len(below[code]), words=binding.words.of([code], 5), examples=below[code][:3])
        for code in largest
    ]


def as_document(report: CodebookReport | None) -> dict[str, Any]:
    """The report as `/v1/codebook` answers it; empty before the first measurement."""
    return {} if report is None else msgspec.to_builtins(report)
