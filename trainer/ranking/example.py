"""An example: an engagement scored before it was learned from, as the ranker learns from it.

Invariant: an example holds the features as they were, so learning from it later is learning from that moment.
"""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

import msgspec
import numpy as np

from store.records.foreign import is_offset, is_time
from trainer.ranking.columns import NAMES


class Example(msgspec.Struct, kw_only=True, frozen=True, tag="engaged"):
    """An engagement scored before it was learned from: a record on `ranking-examples`. A `weight` below 0 is negative.

    `rank` is the true item's place (from 0) in the order that would have been served, or -1 when it was not among the
    candidates. `features` holds float16 rows of `columns` columns: the true item's; if `found`, other candidates'; and
    if it was cold, `cold_negatives` of live items without any engagement; `items` are those of the rows. `positives`
    and `age_s` are the item's then.
    """

    user_id: str
    item_id: str
    task: str
    kind: str
    occurred_at: float
    weight: float
    rank: int
    candidates: int
    source: str
    positives: int
    age_s: float
    history: int
    columns: int
    cold_negatives: int = msgspec.field(name="strangers")
    features: bytes
    value: float | None = None
    ordered: bool = True
    items: list[str] = []

    @property
    def found(self) -> bool:
        """Whether the true item was among the candidates."""
        return self.rank >= 0

    def fault(self) -> str:
        """Why no scorer of this version can have made this; empty if one can."""
        if not is_time(self.occurred_at) or not isfinite(self.weight) or not isfinite(self.value or 0.0):
            return "a time or a weight that is none"
        if self.columns != len(NAMES):
            return ""  # of another version: `rows` has none
        if self.columns <= 0 or len(self.features) % (2 * self.columns) or np.isinf(self.rows()).any():
            return "features that are none"
        if not 0 <= self.cold_negatives <= max(0, len(self.rows()) - 1):
            return "fewer rows than it says"
        return "" if is_offset(self.rank, self.candidates, self.positives) else "a count that no catalogue has"

    def rows(self) -> np.ndarray:
        """The rows (float16); none if they have the columns of another version."""
        if self.columns != len(NAMES):
            return np.zeros((0, len(NAMES)), np.float16)
        return np.frombuffer(self.features, "<f2").reshape(-1, self.columns)

    def group(self) -> Group | None:
        """The true item's row and other candidates': None without either."""
        x_BF = self.rows()
        ours = len(x_BF) - self.cold_negatives
        return Group(x_BF[:ours], self.candidates) if self.found and ours > 1 else None

    def first_engagement(self) -> np.ndarray | None:
        """The cold true item's row and its negatives': None if it had engagements, or if there are no negatives."""
        x_BF = self.rows()
        cold = self.cold_negatives
        return x_BF[[0, *range(len(x_BF) - cold, len(x_BF))]] if cold and len(x_BF) else None


class Group(NamedTuple):
    """Rows (float16) of one example, the true item's first, and how many candidates these are drawn from."""

    candidates_BF: np.ndarray
    candidates: int
