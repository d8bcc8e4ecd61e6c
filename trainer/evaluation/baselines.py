"""Baselines: what any recommender must beat, run inside the same loop on the same moments.

`Popular` counts engagements in a sliding window of the newest events. `ItemKnn` is item-to-item co-engagement with
exponential decay and cosine normalisation over the user's last items (Sarwar et al. 2001, decayed).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
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
    """Decayed co-engagement with the last `context` items, over the root of both items' decayed counts, to which
    `shrink` is added: without it, pairs of rare items win, and the baseline is a third weaker than it could be."""

    def __init__(self, half_life_s: float = 720 * DAY_S, context: int = 20, shrink: float = 10.0) -> None:
        self._half_life_s = half_life_s
        self._context = context
        self._shrink = shrink
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
        shrink = self._shrink * self._latest
        for earlier in context[: self._context]:
            base = self._count.get(earlier, 0.0) + shrink
            for item_id, weight in self._together.get(earlier, {}).items():
                score[item_id] = (
                    score.get(item_id, 0.0) + weight / (base * (self._count.get(item_id, 0.0) + shrink)) ** 0.5
                )
        return _first(sorted(score, key=score.__getitem__, reverse=True), excluded, live, k)

    def _weight(self, at: float) -> float:
        """Forward decay from the first event seen."""
        if self._origin is None:
            self._origin = at
        return float(2.0 ** ((at - self._origin) / self._half_life_s))


def _first(ordered: list[str], excluded: Collection[str], live: Callable[[str], bool], k: int) -> list[str]:
    taken: list[str] = []
    for item_id in ordered:
        if item_id not in excluded and live(item_id):
            taken.append(item_id)
            if len(taken) == k:
                break
    return taken
