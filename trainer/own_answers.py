"""Own answers: what a model would show by itself, and how sure it is of it.

The ranker hides a bad model for a while: it was fitted on the features of the one before. So a model is watched by what
it alone would have shown when an engagement came, before that was learned from.

Invariant: only items that may be returned count, and all of them share the probability.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from trainer.candidate_ranking import Ranking
from trainer.model_bundle import ItemPopularity, ModelBundle, model_evidence
from trainer.retrieval.top import best_of

SHOWN = 10


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """`hit`: whether the item is among the `SHOWN` with the highest scores; `expected`: how likely that was by the same
    scores. `written`: whether it is among the first `SHOWN` of beam search; None where nothing is written. `took_ms`:
    for how long the model was waited for."""

    hit: bool
    expected: float
    written: bool | None = None
    took_ms: float = 0.0


def own_answer(bundle: ModelBundle, ranking: Ranking, handle: int) -> OwnAnswer | None:
    """What a bundle's model would show of what `ranking` was made of, where the item `handle` was engaged with; None if
    there is no model, or if it failed. It is asked now, also where the ranking has asked it: two models are compared by
    what they say at one time."""
    moment, catalog = ranking.moment, ranking.evidence.catalog
    began_at = time.monotonic()
    evidence = model_evidence(bundle, moment.request, moment.user, catalog, ranking.allowed_N, moment.now_s)
    if evidence is None:
        return None
    took_ms = 1000.0 * (time.monotonic() - began_at)
    found = _answer(evidence.score_N, ranking.allowed_N, handle)
    return OwnAnswer(found.hit, found.expected, handle in evidence.proposed["model"][:SHOWN], took_ms)


def answer_of_popularity(popularity: ItemPopularity, ranking: Ranking, handle: int) -> OwnAnswer:
    """What popularity alone would show, which needs no model."""
    allowed_N = ranking.allowed_N
    logits_N = popularity.logits(ranking.evidence.catalog, len(allowed_N), ranking.moment.now_s)
    return _answer(logits_N, allowed_N, handle)


def _answer(score_N: np.ndarray, allowed_N: np.ndarray, handle: int) -> OwnAnswer:
    known = np.flatnonzero(allowed_N & np.isfinite(score_N))
    if not len(known):
        return OwnAnswer(False, 0.0)
    best = best_of(known, score_N, None, SHOWN)
    mass_N = np.exp(score_N[known].astype(np.float64) - float(score_N[known].max()))
    first = np.exp(score_N[best].astype(np.float64) - float(score_N[known].max()))
    return OwnAnswer(handle in best, float(first.sum() / mass_N.sum()))
