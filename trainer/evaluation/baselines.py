"""Baselines: what any recommender must beat, run inside the same loop on the same moments.

`Popular` counts engagements in a sliding window of the newest events. `ItemKnn` is item-to-item co-engagement with
exponential decay over the user's last items (Sarwar et al. 2001, decayed), in several variants: which is strongest
depends on the stream. `TransitionCounts` counts what came after what.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from math import log, log1p
from typing import Protocol

DAY_S = 86_400.0


class Baseline(Protocol):
    """Learns engagements one by one, and ranks for the newest-first items of a user."""

    def learn(self, item_id: str, at: float, context: Sequence[str]) -> None: ...

    def recommend(
        self, context: Sequence[str], excluded: Collection[str], live: Callable[[str], bool], k: int
    ) -> list[str]: ...


class Popular:
    """The most engaged items among the newest `window` engagements."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._events: deque[str] = deque()
        self._counts: Counter[str] = Counter()

    def learn(self, item_id: str, at: float, context: Sequence[str]) -> None:
        del at, context
        self._events.append(item_id)
        self._counts[item_id] += 1
        if len(self._events) > self._window:
            oldest = self._events.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]

    def recommend(
        self, context: Sequence[str], excluded: Collection[str], live: Callable[[str], bool], k: int
    ) -> list[str]:
        del context
        ordered = sorted(self._counts, key=self._counts.__getitem__, reverse=True)
        return _first(ordered, excluded, live, k)


class ItemKnn:
    """Decayed co-engagement with the last `context` items, the n-th of which weighs n ** -`place_power`.

    With `shrink` it is over the root of both items' decayed counts, to which so much is added: without that, pairs of
    rare items win a cosine. Without (None) nothing is divided by: what went together most often wins."""

    def __init__(
        self,
        half_life_s: float = 720 * DAY_S,
        context: int = 20,
        shrink: float | None = 10.0,
        place_power: float = 0.0,
    ) -> None:
        self._half_life_s = half_life_s
        self._context = context
        self._shrink = shrink
        self._places = [(1.0 + place) ** -place_power for place in range(context)]
        self._latest = 0.0
        self._origin: float | None = None
        self._together: dict[str, dict[str, float]] = {}
        self._count: dict[str, float] = {}

    def learn(self, item_id: str, at: float, context: Sequence[str]) -> None:
        weight = self._latest = self._weight(at)
        self._count[item_id] = self._count.get(item_id, 0.0) + weight
        here = self._together.setdefault(item_id, {})
        for earlier in context[: self._context]:
            if earlier != item_id:
                here[earlier] = here.get(earlier, 0.0) + weight
                there = self._together.setdefault(earlier, {})
                there[item_id] = there.get(item_id, 0.0) + weight

    def recommend(
        self, context: Sequence[str], excluded: Collection[str], live: Callable[[str], bool], k: int
    ) -> list[str]:
        score: dict[str, float] = {}
        for earlier, place in zip(context, self._places, strict=False):
            for item_id, weight in self._together.get(earlier, {}).items():
                score[item_id] = score.get(item_id, 0.0) + place * weight / self._norm(earlier, item_id)
        return _first(sorted(score, key=score.__getitem__, reverse=True), excluded, live, k)

    def _norm(self, earlier: str, item_id: str) -> float:
        if self._shrink is None:
            return 1.0
        doubt = self._shrink * self._latest
        return (
            float(((self._count.get(earlier, 0.0) + doubt) * (self._count.get(item_id, 0.0) + doubt)) ** 0.5) or 1e-300
        )

    def _weight(self, at: float) -> float:
        """Forward decay from the first event seen."""
        if self._origin is None:
            self._origin = at
        return float(2.0 ** ((at - self._origin) / self._half_life_s))


class TransitionCounts:
    """log(1 + c / `doubt`) summed over the history, each place `decay` of the one before, where c counts how often an
    item came after another at up to ten places' distance, weighing 1 / sqrt(distance): PCTM (Petrov et al., RecSys
    2026), with its small penalty on popularity."""

    REACH = 10

    def __init__(self, doubt: float = 0.93, decay: float = 0.6, penalty: float = 0.04) -> None:
        self._doubt, self._decay, self._penalty = doubt, decay, penalty
        self._after: dict[str, dict[str, float]] = {}
        self._count: Counter[str] = Counter()

    def learn(self, item_id: str, at: float, context: Sequence[str]) -> None:
        del at
        self._count[item_id] += 1
        for distance, earlier in enumerate(context[: self.REACH], 1):
            if earlier != item_id:
                after = self._after.setdefault(earlier, {})
                after[item_id] = after.get(item_id, 0.0) + distance**-0.5

    def recommend(
        self, context: Sequence[str], excluded: Collection[str], live: Callable[[str], bool], k: int
    ) -> list[str]:
        score: dict[str, float] = {}
        for place, earlier in enumerate(context):
            weight = self._decay**place
            for item_id, count in self._after.get(earlier, {}).items():
                score[item_id] = score.get(item_id, 0.0) + weight * log1p(count / self._doubt)
        for item_id in score:
            score[item_id] -= self._penalty * log(self._count[item_id])
        return _first(sorted(score, key=score.__getitem__, reverse=True), excluded, live, k)


ITEM_KNN = "item-knn"


def all_baselines(window: int) -> dict[str, Baseline]:
    """Every baseline by name. Those whose names begin with `item-knn` are one method with different constants, of which
    the report calls the best of a stream `item-knn`."""
    return {
        "popular": Popular(window),
        "pctm": TransitionCounts(),
        f"{ITEM_KNN} (shrunk cosine, 720 days)": ItemKnn(),
        f"{ITEM_KNN} (shrunk cosine, places weighed, 30 days)": ItemKnn(30 * DAY_S, place_power=0.7),
        f"{ITEM_KNN} (counts, 30 days)": ItemKnn(30 * DAY_S, shrink=None),
        f"{ITEM_KNN} (counts, 720 days)": ItemKnn(shrink=None),
    }


def with_best_knn(ranks: Sequence[Mapping[str, int]], k: int) -> list[dict[str, int]]:
    """The ranks by each baseline of each evaluated engagement, and as `item-knn` those of the variant with the most
    hits at k of all. A best that is chosen by what is measured flatters the baseline, which is as it should be."""
    if not ranks:
        return []
    hits = {name: sum(0 <= one[name] < k for one in ranks) for name in ranks[0] if name.startswith(ITEM_KNN)}
    if not hits:
        return [dict(one) for one in ranks]
    best = max(hits, key=hits.__getitem__)
    return [{**{ITEM_KNN: one[best]}, **one} for one in ranks]


def _first(ordered: list[str], excluded: Collection[str], live: Callable[[str], bool], k: int) -> list[str]:
    taken: list[str] = []
    for item_id in ordered:
        if item_id not in excluded and live(item_id):
            taken.append(item_id)
            if len(taken) == k:
                break
    return taken
