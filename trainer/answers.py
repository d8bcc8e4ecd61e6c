"""Answers: the lines that are shown of a ranking, with their sources, reasons and probabilities.

Invariant: lines are the best of the ranking, but for the last, which explores in a bounded share of answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from store.requests import Answer, RecommendedItem
from trainer.candidate_ranking import Ranking
from trainer.exploration import Exploration
from trainer.ranking.heads import CLICK, HEADS
from trainer.reasons import EXPLORE, GIVEN, reason, speaks_most, winners
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.speakers import speaker
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
    sources = [source or GIVEN for source in winners(ranking.proposed, ranking.handles_B[places_K])]
    if explored:
        sources[-1] = EXPLORE
    lines = [_line(ranking, place, source) for place, source in zip(places_K.tolist(), sources, strict=True)]
    return lines, ranking.x_BF[places_K]


def _line(ranking: Ranking, place: int, source: str) -> RecommendedItem:
    catalog, handle = ranking.evidence.catalog, int(ranking.handles_B[place])
    speaks = speaker(ranking.evidence, source, handle)
    card = None if speaks is None else catalog.cards[speaks]
    return RecommendedItem(
        item_id=catalog.ids[handle],
        score=float(ranking.scores_B[place]),
        semantic_id=ranking.moment.bundle.whole_id(handle, catalog.ids[handle]),
        source=source,
        reason=reason(source, card.title if card is not None else ""),
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


def explained(
    ranking: Ranking, lines: list[RecommendedItem], x_KF: np.ndarray, without: Callable[[int], Evidence]
) -> list[RecommendedItem]:
    """The same lines with what the ranker expects of each, the words of its topic, and the past item that it owes its
    score to. `without` makes the evidence of all past items but one."""
    catalog, bundle = ranking.evidence.catalog, ranking.moment.bundle
    handles_K = np.array([catalog.handles[line.item_id] for line in lines], np.int64)
    past_K = speaks_most(ranking, handles_K, without)
    heads_KH = ranking.moment.ranker.probabilities(x_KF).tolist()
    return [
        msgspec.structs.replace(
            line,
            because=msgspec.UNSET if past is None else catalog.ids[past],
            words=bundle.prefix_words(handle, catalog.cards),
            heads=dict(zip(HEADS, heads, strict=True)),
        )
        for line, handle, heads, past in zip(lines, handles_K.tolist(), heads_KH, past_K, strict=True)
    ]
