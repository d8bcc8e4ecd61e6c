"""The model's part in a replay: when it is told what, and what is noted of it.

A replay tells its model of every engagement that has been learned from, every card that was published and every one
that was examined. How it trains and swaps is its own business
(`trainer.runs.replayed_model`); a replay without a model has one that does nothing.

Invariant: a replay without a model is the same, byte for byte, as if there were none of this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from store.events import Engagement
from store.items import ItemCard
from trainer.examples import RankedEngagement
from trainer.ranking.learner import Snapshot


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """One evaluated engagement: the true item's rank among all live items by the model alone, and by the ranker that
    does without it (-1: not proposed); whether the item is younger than the checkpoint; how many engagements that is
    behind. `served`: whether there was a checkpoint."""

    place: int
    served: bool
    alone: int
    without: int
    younger: bool
    behind: int


@dataclass(frozen=True, slots=True)
class ColdOutcome:
    """An untouched item among the live items as untouched: its rank by the model and by the likeness of content."""

    place: int
    model: int
    content: int
    negatives: int


@dataclass(slots=True)
class ModelRecord:
    """All that was noted of the model: outcomes, and the figures of each training run."""

    outcomes: list[ModelOutcome] = field(default_factory=list)
    cold: list[ColdOutcome] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)


class ModelInReplay(Protocol):
    """What a replay tells its model, in this order at every step."""

    record: ModelRecord

    def hear(self, event: Engagement) -> None:
        """An engagement has been learned from by everything else."""

    def follow(self, card: ItemCard) -> None:
        """A card was published; the serving bundle does not have it yet."""

    def advance(self) -> None:
        """The state has caught up: runs that are due may start, models whose time has come may be swapped in."""

    def fit(self, snapshot: Snapshot) -> None:
        """The ranker was fitted on these examples."""

    def judge(
        self, place: int, ranked: RankedEngagement | None, handle: int | None, *, evaluated: bool, cold: bool
    ) -> None:
        """An engagement was examined: its example and ranking, None where its item could not be returned. Notes how the
        model did if it is `evaluated`, and if it is an item's first (`cold`)."""


class NoModel:
    """Does nothing."""

    def __init__(self) -> None:
        self.record = ModelRecord()

    def hear(self, event: Engagement) -> None: ...
    def follow(self, card: ItemCard) -> None: ...
    def advance(self) -> None: ...
    def fit(self, snapshot: Snapshot) -> None: ...

    def judge(
        self, place: int, ranked: RankedEngagement | None, handle: int | None, *, evaluated: bool, cold: bool
    ) -> None: ...
