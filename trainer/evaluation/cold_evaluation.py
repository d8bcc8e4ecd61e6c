"""Cold evaluation: the rank of an item with few engagements or none among those of its kind.

Behaviour says next to nothing of them, so their order shows what content knows. An untouched item is ranked among the
untouched, any with fewer than `FRESH_BELOW` engagements among all such.

Invariant: all are scored as they would be among the candidates of the same request.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from store.histories import UserRow
from store.requests import Request
from trainer.recommender import Recommender

FRESH_BELOW = 5


@dataclass(slots=True)
class RankWithinKind:
    """One engagement with a cold or fresh item, ranked among the live items of its kind."""

    cold: bool
    rank: int
    candidates: int


def rank_within_kind(
    recommender: Recommender, request: Request, user: UserRow | None, handle: int
) -> list[RankWithinKind]:
    """Ranks of the item among the fresh, and first, if nobody has touched it, among the cold; none if it may not be
    returned. Ties count half."""
    ranking = recommender.rank(request, user, ordered=False)
    allowed_N = ranking.allowed_N
    if handle >= len(allowed_N) or not allowed_N[handle]:
        return []
    positives_N = recommender.catalog.positives_N[: len(allowed_N)]
    fresh = np.flatnonzero(allowed_N & (positives_N < FRESH_BELOW))
    score_B = ranking.scores_of(fresh)
    own = score_B[np.searchsorted(fresh, handle)]
    untouched_B = positives_N[fresh] == 0
    found = [_place(True, score_B[untouched_B], own)] if positives_N[handle] == 0 else []
    return [*found, _place(False, score_B, own)]


def _place(cold: bool, score_B: np.ndarray, own: float) -> RankWithinKind:
    ties = (int(np.sum(score_B == own)) - 1) // 2
    return RankWithinKind(cold, int(np.sum(score_B > own)) + ties, len(score_B))
