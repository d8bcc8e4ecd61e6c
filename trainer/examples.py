"""Examples: an engagement as what the ranker learns from, its item against others as all of them were before it.

Invariant: what is learned from an engagement is never in its own example.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from store.events import Engagement
from store.requests import Request, Task
from trainer.candidate_ranking import Ranking
from trainer.ranking.columns import NAMES
from trainer.ranking.example import Example
from trainer.ranking.features import TASKS
from trainer.ranking.negatives import NO_HANDLES, NegativeRules, NegativeSampler
from trainer.reasons import winners


class RankedEngagement(NamedTuple):
    """An engagement's example, and the whole ranking that it came from."""

    example: Example
    ranking: Ranking


def example_of(engagement: Engagement, weight: float, ranking: Ranking, handle: int, rules: NegativeRules) -> Example:
    """The example of an engagement with the item `handle`, of the ranking of its request."""
    catalog, place = ranking.evidence.catalog, np.flatnonzero(ranking.handles_B == handle)
    rank = int(place[0]) if len(place) else -1
    draw = NegativeSampler(rules.seed, engagement.event_id)
    others = draw.candidates(handle, ranking.handles_B, rules.candidates) if rank >= 0 else NO_HANDLES
    cold = draw.cold(handle, ranking.allowed_N, catalog.positives_N, rules.cold)
    sampled = np.concatenate([[handle], others, cold]) if len(others) or len(cold) else NO_HANDLES
    return Example(
        user_id=engagement.user_id,
        item_id=engagement.item_id,
        task=ranking.moment.request.task,
        kind=engagement.kind,
        occurred_at=engagement.occurred_at,
        weight=weight,
        rank=rank,
        candidates=len(ranking.handles_B),
        source=winners(ranking.proposed, np.array([handle]))[0] if rank >= 0 else "",
        positives=int(catalog.positives_N[handle]),
        age_s=engagement.occurred_at - float(catalog.uploaded_at_N[handle]),
        history=ranking.taste.count,
        columns=len(NAMES),
        cold_negatives=len(cold),
        value=engagement.value,
        items=[catalog.ids[row] for row in sampled.tolist()],
        features=ranking.features_of(sampled).astype("<f2").tobytes(),
    )


def request_of(engagement: Engagement) -> Request:
    """The request that an engagement answers, as far as its event tells."""
    task: Task = "next"
    for known in TASKS:
        if engagement.task == known:
            task = known
    return Request(
        user_id=engagement.user_id,
        task=task,
        query=engagement.query,
        item_id=engagement.context_item_id,
        country=engagement.country,
        device=engagement.device,
    )
