"""Selection: which of the ranked candidates an answer shows, by the rules of its task.

Bounds keep one creator or one topic from filling a list: who is over a bound waits until nobody else is left, so that a
list is as long without them. A threshold does not wait: what a user would hardly click is not shown at all, which suits
a task that interrupts. It needs probabilities that were learned; before there are any, nothing passes it.

Invariant: places ascend but for those that had to wait, which come last; no place is chosen twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from store.settings import Utility
from trainer.candidate_ranking import Ranking
from trainer.ranking.heads import CLICK


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRules:
    """What is particular to a task. 0 means: no bound. `most_per_creator`, `most_per_topic`: lines of an answer (a
    topic is the first code of a semantic ID). `least_click`: the least probability of a click of what is shown.
    `depth`: how much deeper each source goes than `CandidateRules` says. `utility`: None for that of all tasks."""

    most_per_creator: int = 0
    most_per_topic: int = 0
    least_click: float = 0.0
    depth: float = 1.0
    utility: Utility | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """Places of a ranking (K), how many of its candidates are under the threshold, and whether the last place may be
    given to an item of which little is known."""

    places_K: np.ndarray
    poor: int = 0
    may_explore: bool = True


def selected(ranking: Ranking, rules: TaskRules) -> Selected:
    """The first `request.k` places that the rules let be shown."""
    k, good = ranking.moment.request.k, np.arange(len(ranking.handles_B))
    poor = 0
    if rules.least_click:
        good = good[_clicks(ranking) >= rules.least_click]
        poor = len(ranking.handles_B) - len(good)
    if rules.most_per_creator or rules.most_per_topic:
        good = np.array(_spread(ranking, rules, good.tolist(), k), np.int64)
    return Selected(good[:k], poor, may_explore=not rules.least_click)


def _clicks(ranking: Ranking) -> np.ndarray:
    """P(click) of each candidate; 0 where no head has learned it."""
    if ranking.moment.ranker.heads is None:
        return np.zeros(len(ranking.handles_B))
    return ranking.moment.ranker.probabilities(ranking.x_BF)[:, CLICK]


def _spread(ranking: Ranking, rules: TaskRules, places: list[int], k: int) -> list[int]:
    """The first `k` places within the bounds, then those that had to wait."""
    chosen: list[int] = []
    waiting: list[int] = []
    counts: Counter[tuple[str, str | int]] = Counter()
    for place in places:
        if len(chosen) == k:
            break
        bounds = list(_bounds(ranking, rules, place))
        if any(counts[group] >= most for group, most in bounds):
            waiting.append(place)
        else:
            chosen.append(place)
            counts.update(group for group, _ in bounds)
    return chosen + waiting


def _bounds(ranking: Ranking, rules: TaskRules, place: int) -> Iterator[tuple[tuple[str, str | int], int]]:
    """The groups that a candidate belongs to, each with its bound."""
    handle, catalog = int(ranking.handles_B[place]), ranking.evidence.catalog
    card = catalog.cards[handle]
    if rules.most_per_creator and card is not None and card.creator_id is not None:
        yield ("creator", card.creator_id), rules.most_per_creator
    if rules.most_per_topic:
        codes = ranking.moment.bundle.whole_id(handle, catalog.ids[handle])[:-1]
        if codes:
            yield ("topic", codes[0]), rules.most_per_topic
