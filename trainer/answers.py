"""Answers: the lines that are shown of a ranking, with their sources, reasons and probabilities.

Invariant: lines are the best of the ranking, but for the last, which explores in a bounded share of answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from store.requests import Answer, RecommendedItem
from trainer.candidate_ranking import Ranking
from trainer.exploration import Exploration
from trainer.ranking.heads import CLICK, HEADS
from trainer.reasons import EXPLORE, GIVEN, reason, winners
from trainer.selection import Selected


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, the features of its lines (K × F) and the moment of event time at which it was made."""

    answer: Answer
    x_KF: np.ndarray
    now_s: float


def lines_of(
    ranking: Ranking, exploration: Exploration, shown: Selected, explores: bool | None = None
) -> tuple[list[RecommendedItem], np.ndarray]:
    """The lines at the places (K) that were selected, the last as `exploration` wants it, which counts what is shown,
    and their features (K × F). `explores`: whether it is this answer's turn, where that was asked before."""
    places_K = shown.places_K.copy()
    explored = _explored(ranking, exploration, places_K, explores) if shown.may_explore else None
    if explored is not None:
        places_K[-1] = explored
    exploration.note(ranking.handles_B[places_K], explored is not None)
    return lines_at(ranking, places_K, explored is not None)


def lines_at(
    ranking: Ranking, places_K: np.ndarray, explored: bool = False
) -> tuple[list[RecommendedItem], np.ndarray]:
    """The lines at some places of a ranking, of which the last may be `explored`, and their features (K × F)."""
    request, ranker = ranking.moment.request, ranking.moment.ranker
    x_KF = ranking.x_BF[places_K]
    heads = ranker.probabilities(x_KF).tolist() if request.explain else [None] * len(places_K)
    sources = winners(ranking.proposed, ranking.handles_B[places_K])
    if explored:
        sources[-1] = EXPLORE
    sources = [source or GIVEN for source in sources]
    lines = zip(places_K.tolist(), sources, heads, strict=True)
    title = _last_title(ranking)
    return [_line(ranking, place, reason(source, title), source, expected) for place, source, expected in lines], x_KF


def _last_title(ranking: Ranking) -> str:
    """The title of what the user chose last; empty if that has none."""
    last_L = ranking.taste.handles_L
    card = ranking.evidence.catalog.cards[int(last_L[0])] if len(last_L) else None
    return card.title if card is not None else ""


def _line(ranking: Ranking, place: int, why: str, source: str, heads: list[float] | None) -> RecommendedItem:
    catalog, handle = ranking.evidence.catalog, int(ranking.handles_B[place])
    return RecommendedItem(
        item_id=catalog.ids[handle],
        score=float(ranking.scores_B[place]),
        semantic_id=ranking.moment.bundle.whole_id(handle, catalog.ids[handle]),
        source=source,
        reason=why,
        heads=msgspec.UNSET if heads is None else dict(zip(HEADS, heads, strict=True)),
    )


def _explored(ranking: Ranking, exploration: Exploration, places_K: np.ndarray, explores: bool | None) -> int | None:
    """The place of the explored candidate that this answer shows last; None in most answers."""
    request, now_s = ranking.moment.request, ranking.moment.now_s
    if not (exploration.due(request, now_s, len(places_K)) if explores is None else explores and len(places_K)):
        return None
    others = np.setdiff1d(np.arange(len(ranking.handles_B)), places_K)
    known_B = ranking.evidence.catalog.positives_N[ranking.handles_B]
    newest_B = np.isin(ranking.handles_B, ranking.proposed.get("fresh", ()))
    places = others[exploration.pool(request, now_s, known_B[others], newest_B[others])]
    if not len(places):
        return None
    click_B = ranking.moment.ranker.probabilities(ranking.x_BF[places])[:, CLICK]
    return int(places[exploration.choose(request, now_s, ranking.handles_B[places], click_B)])
