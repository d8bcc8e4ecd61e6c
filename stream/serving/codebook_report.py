"""The codebook's report: how well the serving version fits the live items, and what its codes are about.

Measured in a thread from a picture of the catalogue: for `/v1/codebook`, `sidestream codebook show` and Prometheus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import msgspec
import numpy as np

from store.items import ItemCard
from stream.metrics.metrics import Metrics
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.health import CodebookHealth, health_of
from trainer.semantic_ids.topic_tree import PrefixTopic, topic_tree
from trainer.semantic_ids.word_map import parts_of

SAMPLE = 500
"""Items of each age whose content is quantised again for the error."""
DAY_S = 86_400.0


class CodebookReport(msgspec.Struct, kw_only=True, frozen=True):
    """Health of a version and the tree of its topics; `about` says how the version was made."""

    health: CodebookHealth
    topics: PrefixTopic
    about: dict[str, Any]

    def tell(self, metrics: Metrics) -> None:
        """Shows the health in Prometheus."""
        health = self.health
        metrics.codebook_measured(
            perplexities=[level.perplexity for level in health.levels],
            error=health.error_fresh or health.error_old,
            collision_ratio=health.collision_ratio,
            by_level={"codebook_dead_codes": [level.dead for level in health.levels], "codebook_churn": health.churn},
            errors={name: value for name, value in self._errors() if value},
            plain={
                "semantic_id_distinct_ratio": health.distinct,
                "semantic_id_largest_collision": health.largest_collision,
                "codebook_drift": health.drift,
            },
        )
        if self.about.get("trained_at"):
            metrics.codebook_serves(float(self.about["trained_at"]))

    def _errors(self) -> list[tuple[str, float]]:
        """By kind of item; 0 where there is none."""
        health = self.health
        return [("old", health.error_old), ("fresh", health.error_fresh), ("made", health.error_when_made)]


def measure(bundle: ModelBundle, cards: Iterable[tuple[int, ItemCard]], now_s: float) -> CodebookReport:
    """The report of a bundle over live items, given as (handle, card); fresh are those uploaded within a day."""
    told = _Told(now_s)
    for handle, card in cards:
        if (codes := bundle.tree.codes_of(handle)) is not None:
            told.add(codes, card)
    codes_NL = np.array(told.codes, np.int32).reshape(len(told.codes), bundle.codebook.levels)
    health = health_of(bundle.codebook, codes_NL, told.some[False], told.some[True])
    topics = topic_tree(codes_NL, told.titles, told.tags)
    return CodebookReport(health=health, topics=topics, about=dict(bundle.codebook.about))


class _Told:
    """What is kept of the cards: codes, titles and tags of all, content of a sample of the fresh and of the others."""

    def __init__(self, now_s: float) -> None:
        self.codes: list[tuple[int, ...]] = []
        self.titles: list[str] = []
        self.tags: list[list[str]] = []
        self.some: dict[bool, list[dict[str, np.ndarray]]] = {False: [], True: []}
        self._now_s, self._count, self._chance = now_s, Counter[bool](), Random(0)

    def add(self, codes: Sequence[int], card: ItemCard) -> None:
        self.codes.append(tuple(codes))
        self.titles.append(card.title)
        self.tags.append(card.tags)
        fresh = self._now_s - card.uploaded_at < DAY_S
        some, self._count[fresh] = self.some[fresh], self._count[fresh] + 1
        place = self._chance.randrange(self._count[fresh])  # reservoir sampling: each is kept with the same chance
        if len(some) < SAMPLE:
            some.append(parts_of(card))
        elif place < SAMPLE:
            some[place] = parts_of(card)


def as_document(report: CodebookReport | None) -> dict[str, Any]:
    """The report as `/v1/codebook` answers it; empty before the first measurement."""
    return {} if report is None else msgspec.to_builtins(report)
