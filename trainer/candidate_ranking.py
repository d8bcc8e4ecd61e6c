"""The ranking of one request: candidates of all sources, their features, and the order that the ranker gives them.

Invariant: a ranking was made by one bundle and one ranker, which it holds; all its candidates may be returned.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from store.histories import UserRow
from store.requests import Request
from store.settings import Utility
from trainer.model_bundle import Expected, ModelBundle, ModelEvidence, model_evidence
from trainer.ranking.columns import NAMES
from trainer.ranking.features import compute
from trainer.ranking.ranker import Ranker
from trainer.retrieval.candidates import gather, rest, united
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.search import by_relevance
from trainer.retrieval.taste import Taste

LEAST_WANTED = 10
"""So many of the best are ranked with all care, however few are asked for: bounds and exploration pass some over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a ranking is made with: the request and its user, at a moment of event time; bundle, ranker, utility. After
    `due_s` (`time.monotonic`) what takes longest is left out. `expected`: what the bundle's model has said already."""

    request: Request
    user: UserRow | None
    now_s: float
    bundle: ModelBundle
    ranker: Ranker
    utility: Utility
    due_s: float = math.inf
    expected: Expected | None = None


@dataclass(frozen=True, slots=True)
class Ahead:
    """What was found out of a request together with others': its evidence, and what the model of a bundle expected of
    it at a moment of event time (None: there is no model)."""

    bundle: ModelBundle
    now_s: float
    evidence: Evidence
    expected: Expected | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates (B) in the order of their scores, and how each came in: `proposed` by source, best first.

    `allowed_N` tells which items could have been candidates, `model` what the generative model says (None without
    one, or where it was too `late` to ask it)."""

    moment: Moment
    evidence: Evidence
    allowed_N: np.ndarray
    proposed: dict[str, np.ndarray]
    model: ModelEvidence | None
    handles_B: np.ndarray
    scores_B: np.ndarray
    x_BF: np.ndarray
    late: bool = False

    @property
    def taste(self) -> Taste:
        """What the user's history says."""
        return self.evidence.taste

    def features_of(self, handles_A: np.ndarray) -> np.ndarray:
        """Features of any items, as they would have them among these candidates (A × F)."""
        model = None if self.model is None else self.model.columns
        return compute(self.evidence, handles_A, self.moment.now_s, self.moment.request, model, self.handles_B)

    def scores_of(self, handles_A: np.ndarray) -> np.ndarray:
        """The ranker's scores of any items, as they would have them among these candidates (A)."""
        return self.moment.ranker.score(self.features_of(handles_A), self.moment.utility)


def rank_named(pool: Ranking, request: Request, handles_B: np.ndarray, allowed_N: np.ndarray) -> Ranking:
    """The items that a request names itself, in the order that they have among the candidates (`pool`) that the sources
    would have proposed: a place among others says little where the others were chosen by somebody else."""
    moment = replace(pool.moment, request=request)
    x_BF = pool.features_of(handles_B)
    scores_B = moment.ranker.score(x_BF, moment.utility) if len(handles_B) else np.zeros(0)
    if pool.evidence.query is not None and len(handles_B):
        scores_B = by_relevance(pool.evidence.of("query", handles_B), scores_B)
    order = np.argsort(-scores_B, kind="stable")
    ranking = replace(pool, moment=moment, allowed_N=allowed_N, handles_B=handles_B[order], scores_B=scores_B[order])
    return replace(ranking, x_BF=x_BF[order])


def _model(moment: Moment, evidence: Evidence, allowed_N: np.ndarray) -> ModelEvidence | None:
    asked = moment.bundle, moment.request, moment.user
    return model_evidence(*asked, evidence.catalog, allowed_N, moment.now_s, moment.expected)


def rank_candidates(moment: Moment, evidence: Evidence, allowed_N: np.ndarray, *, ordered: bool = True) -> Ranking:
    """The ranking of a request. One that need not be `ordered` has its candidates by handle, without scores and
    features, for half the cost."""
    proposed = gather(evidence, allowed_N)
    asks = moment.bundle.generator is not None and moment.expected is None
    late = asks and time.monotonic() > moment.due_s
    model = None if late else _model(moment, evidence, allowed_N)
    if model is not None:
        proposed |= model.proposed
    handles_B = united(proposed, evidence.size)
    if len(handles_B) < moment.request.k:
        proposed["rest"] = rest(evidence, allowed_N, handles_B, moment.request.k - len(handles_B))
        handles_B = united(proposed, evidence.size)
    scores_B, x_BF = np.zeros(0), np.zeros((0, len(NAMES)), np.float32)
    if len(handles_B) and ordered:
        columns = None if model is None else model.columns
        x_BF = compute(evidence, handles_B, moment.now_s, moment.request, columns)
        wanted = max(moment.request.k, LEAST_WANTED) if evidence.query is None else None
        scores_B = moment.ranker.score(x_BF, moment.utility, wanted)
        if evidence.query is not None:
            scores_B = by_relevance(evidence.of("query", handles_B), scores_B)
        order = np.argsort(-scores_B, kind="stable")
        handles_B, scores_B, x_BF = handles_B[order], scores_B[order], x_BF[order]
    return Ranking(moment, evidence, allowed_N, proposed, model, handles_B, scores_B, x_BF, late)
