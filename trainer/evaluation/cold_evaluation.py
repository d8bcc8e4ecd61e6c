"""Little-known items: where the true one stands among those that are as little known.

Behaviour says next to nothing of them, so their order shows what content knows. An untouched item is ranked among the
untouched, any with fewer than `KNOWN` engagements among all such.

Invariant: all are scored as they would be among the candidates of the same request.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from store.histories import UserRow
from store.requests import Request
from trainer.recommender import Recommender

KNOWN = 5


@dataclass(slots=True)
class Within:
    """One engagement with a little-known item, ranked among the live items that are as little known."""

    cold: bool
    rank: int
    rivals: int


def rank_within(recommender: Recommender, request: Request, user: UserRow | None, handle: int) -> list[Within]:
    """Ranks of the item among the fresh, and first, if nobody has touched it, among the cold; none if it may not be
    returned. Ties count half."""
    allowed_N = recommender.allowed(request, user)
    if handle >= len(allowed_N) or not allowed_N[handle]:
        return []
    positives_N = recommender.catalog.positives_N[: len(allowed_N)]
    fresh = np.flatnonzero(allowed_N & (positives_N < KNOWN))
    score_B = recommender.score(request, user, fresh)
    own = score_B[np.searchsorted(fresh, handle)]
    untouched_B = positives_N[fresh] == 0
    found = [_place(True, score_B[untouched_B], own)] if positives_N[handle] == 0 else []
    return [*found, _place(False, score_B, own)]


def _place(cold: bool, score_B: np.ndarray, own: float) -> Within:
    ties = (int(np.sum(score_B == own)) - 1) // 2
    return Within(cold, int(np.sum(score_B > own)) + ties, len(score_B))
