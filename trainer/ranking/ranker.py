"""The ranker: one multi-task model that orders the candidates of all sources.

Before anything is learned a heuristic orders; then boosted trees do (`trainer.ranking.learner`). Items without any
engagement are judged by their content (`trainer.ranking.cold_start`). What people said to what they were shown becomes
the heads (`trainer.ranking.heads`), which weigh the best of that order by their utility.

Invariant: a ranker never changes; learning more makes another.
"""

from __future__ import annotations

from typing import Protocol

import lightgbm
import msgspec
import numpy as np

from store.records.foreign import UNREADABLE
from store.settings import Utility
from trainer.ranking.calibration import sigmoid
from trainer.ranking.cascade import cascaded
from trainer.ranking.cold_start import ColdStartModel
from trainer.ranking.columns import COLUMNS, NAMES
from trainer.ranking.features import FAINT
from trainer.ranking.heads import CLICK, HEADS, Heads, worth

RESCORED = 100
"""So many of the best are weighed by their heads: as many as one answer can have."""
JUDGED = 4
"""So many times as many as are wanted are judged by all trees."""


class Ranker(Protocol):
    """Scores rows of features: the higher, the sooner shown."""

    name: str
    heads: Heads | None

    def score(self, x_BF: np.ndarray, utility: Utility = Utility(), wanted: int | None = None) -> np.ndarray:
        """What each row is worth. Where only the `wanted` best are to be shown, others may be told less exactly, though
        never as better than those."""

    def probabilities(self, x_BF: np.ndarray) -> np.ndarray:
        """P(click), P(completion | click) and P(negative) of each row, if it were shown (B × 3)."""

    def to_bytes(self) -> bytes:
        """What `ranker_from` reads."""


class HeuristicRanker:
    """Orders by plain evidence before anything is learned: transitions first, then nearness, then popularity."""

    name = "prior"
    heads: Heads | None = None

    def score(self, x_BF: np.ndarray, utility: Utility = Utility(), wanted: int | None = None) -> np.ndarray:  # noqa: ARG002 (no heads to weigh, no trees to save)
        def column(name: str) -> np.ndarray:
            return np.asarray(np.nan_to_num(x_BF[:, COLUMNS[name]]))

        evidence = (
            np.exp2(column("follows")) + 0.5 * np.exp2(column("two_hops")) + 1e-3 * (1 + column("spectral_taste"))
        )
        evidence = evidence + 10.0 * (np.exp2(column("repeats")) - FAINT)
        content = column("content_spectral") + column("content_taste")
        return np.asarray(
            np.log2(1e-4 + evidence) + 0.15 * column("heat_2") + 0.15 * column("heat_4") + content + 8 * column("query")
        )

    def probabilities(self, x_BF: np.ndarray) -> np.ndarray:
        """A guess that has the right order: clicks fall from one in ten."""
        p_BH = np.zeros((len(x_BF), len(HEADS)))
        score_B = self.score(x_BF)
        p_BH[:, CLICK] = 0.1 * np.exp2(0.2 * (score_B - score_B.max(initial=-np.inf)))
        return p_BH

    def to_bytes(self) -> bytes:
        return b"prior"


class Boosted:
    """A fitted ranker. `name` tells how many examples it rests on."""

    def __init__(self, model: str, name: str, cold_start: ColdStartModel, heads: Heads | None = None) -> None:
        self.name = name
        self.cold_start = cold_start
        self.heads = heads
        self._model = model
        self._booster = lightgbm.Booster(model_str=model)

    def raw(self, x_BF: np.ndarray) -> np.ndarray:
        """The large model's score: it orders the candidates of one request, and says little across requests."""
        if not len(x_BF):
            return np.zeros(0)
        return np.asarray(self._booster.predict(self.cold_start.beside(x_BF), raw_score=True, num_threads=1))

    def score(self, x_BF: np.ndarray, utility: Utility = Utility(), wanted: int | None = None) -> np.ndarray:
        """The best `RESCORED` by the large model have the utility of their heads; the others follow in its order."""
        kept = self.heads is None or self.heads.keep_order(utility)
        if wanted is None or not len(x_BF):
            raw_B = self.raw(x_BF)
        else:
            judged = JUDGED * wanted if kept else max(JUDGED * wanted, RESCORED)
            raw_B = cascaded(self._booster, self.cold_start.beside(x_BF), judged)
        if self.heads is None:
            return sigmoid(raw_B)
        if kept:
            return self.heads.click(x_BF, raw_B)
        best = np.argsort(-raw_B, kind="stable")[:RESCORED]
        worth_T = worth(self.heads.probabilities(x_BF[best], raw_B[best]), utility)
        score_B: np.ndarray = worth_T.min(initial=0.0) - 1.0 + sigmoid(raw_B)
        score_B[best] = worth_T
        return score_B

    def probabilities(self, x_BF: np.ndarray) -> np.ndarray:
        raw_B = self.raw(x_BF)
        if self.heads is None:
            return np.stack([sigmoid(raw_B), np.zeros(len(x_BF)), np.zeros(len(x_BF))], axis=1)
        return self.heads.probabilities(x_BF, raw_B)

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(_File(self.name, len(NAMES), self._model, self.cold_start, self.heads))


class _File(msgspec.Struct):
    """A fitted ranker as bytes."""

    name: str
    columns: int
    model: str
    cold_start: ColdStartModel = msgspec.field(name="first_sight")
    heads: Heads | None


def ranker_from(data: bytes) -> Ranker:
    """The ranker that `to_bytes` gave. Raises `ValueError` for one of another version, with other columns."""
    if data == b"prior":
        return HeuristicRanker()
    try:
        file = msgspec.json.decode(data, type=_File)
    except UNREADABLE as error:
        raise ValueError(f"no ranker of this version, the trainer will fit another: {error}") from None
    if file.columns != len(NAMES):
        raise ValueError(f"it knows {file.columns} columns, not {len(NAMES)}: the trainer will fit another")
    return Boosted(file.model, file.name, file.cold_start, file.heads)
