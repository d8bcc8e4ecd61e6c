"""Taste: what a user's history says, as handles of items; and the rules by which the sources of candidates read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from store.histories import UserRow
from trainer.items.catalog import Catalog
from trainer.retrieval.repeats import NOTHING, Repeats, repeats_of

QUOTAS: Mapping[str, int] = {
    "follows": 150,
    "together": 150,
    "two_hops": 150,
    "after_last": 60,
    "counts": 0,
    "spectral_taste": 100,
    "spectral_last": 80,
    "vector_taste": 100,
    "vector_last": 60,
    "content_spectral": 60,
    "content_taste": 60,
    "words": 60,
    "query": 100,
    "popular": 50,
    "fresh": 30,
    "repeats": 50,
}
"""Source → how many it proposes. `popular` proposes as many for each half-life of the ladder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateRules:
    """How deep each source goes, and how much of a history speaks: `recent` items by transitions, `long` by vectors,
    `near` by content; places weigh (1 + place) ** -power."""

    recent: int = 20
    long: int = 50
    near: int = 20
    position_power: float = 0.7
    hop_from: int = 30
    fresh_below: int = 5
    quotas: Mapping[str, int] = field(default_factory=lambda: QUOTAS)


def deeper(rules: CandidateRules, factor: float) -> CandidateRules:
    """The same rules with sources that propose `factor` times as many, one at least where they propose any."""
    if factor == 1.0:
        return rules
    return replace(rules, quotas={name: max(1, round(n * factor)) if n else 0 for name, n in rules.quotas.items()})


@dataclass(frozen=True, slots=True)
class Taste:
    """A user's positive items, newest first, as handles (each once) with their times; how many there were; what the
    user turned away; and what may be repeated."""

    handles_L: np.ndarray
    times_L: np.ndarray
    count: int
    refused_R: np.ndarray
    repeats: Repeats

    @property
    def last_at(self) -> float:
        """When the user was last seen to like something; 0 for never."""
        return float(self.times_L[0]) if len(self.times_L) else 0.0


def taste_of(
    user: UserRow | None, catalog: Catalog, rules: CandidateRules, first: int | None = None, repeats: bool = False
) -> Taste:
    """The taste of a user; `first` is the item being viewed, which then speaks before the history."""
    handles: dict[int, float] = {} if first is None else {first: 0.0}
    refused: list[int] = []
    count = 0
    for entry in user.decisions() if user is not None else ():
        handle = catalog.handles.get(entry.item_id)
        if entry.weight < 0 and handle is not None:
            refused.append(handle)
        elif entry.weight > 0:
            count += 1
            if handle is not None and len(handles) < rules.long and handle not in handles:
                handles[handle] = entry.occurred_at
    times = np.array(list(handles.values()))
    if first is not None and len(times) > 1:
        times[0] = times[1]
    repeated = repeats_of(user, catalog, rules.position_power) if repeats else NOTHING
    return Taste(np.array(list(handles), np.int64), times, count, np.array(refused[: rules.near], np.int64), repeated)
