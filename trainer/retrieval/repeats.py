"""Repeats: what a user comes back to, where a catalogue is one of songs, groceries or pages rather than of films.

Only where what the user has may be recommended once more (`serving.repeats`); elsewhere there is nothing to say.

Invariant: arrays are sorted by handle, so that any candidates are looked up at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from store.histories import UserRow
from trainer.items.catalog import Catalog
from trainer.retrieval.scored import Scored


@dataclass(frozen=True, slots=True)
class Repeats:
    """Items of a history (handles, ascending): how often each was engaged, when last (epoch seconds), and its share of
    the history, where places weigh by recency."""

    handles_H: np.ndarray
    times_H: np.ndarray
    last_at_H: np.ndarray
    share_H: np.ndarray

    def scored(self, size: int) -> Scored:
        """The shares of the items below `size`, as the source `repeats`."""
        known = int(self.handles_H.searchsorted(size))
        return Scored(self.handles_H[:known], {"repeats": self.share_H[:known].astype(np.float32)})

    def of(self, handles_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How often the user engaged with each item, and when last (epoch seconds; 0 where never)."""
        times_B, last_at_B = np.zeros(len(handles_B)), np.zeros(len(handles_B))
        if len(self.handles_H):
            place_B = np.minimum(np.searchsorted(self.handles_H, handles_B), len(self.handles_H) - 1)
            had_B = self.handles_H[place_B] == handles_B
            times_B[had_B] = self.times_H[place_B[had_B]]
            last_at_B[had_B] = self.last_at_H[place_B[had_B]]
        return times_B, last_at_B


NOTHING = Repeats(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


def repeats_of(user: UserRow | None, catalog: Catalog, position_power: float) -> Repeats:
    """What the positive entries of a user say."""
    found: dict[int, tuple[int, float, float]] = {}
    total = 0.0
    for place, entry in enumerate(user.positives() if user is not None else ()):
        weight = (1.0 + place) ** -position_power
        total += weight
        handle = catalog.handles.get(entry.item_id)
        if handle is not None:
            times, last_at, share = found.get(handle, (0, entry.occurred_at, 0.0))
            found[handle] = (times + 1, max(last_at, entry.occurred_at), share + weight)
    if not found:
        return NOTHING
    handles_H = np.array(sorted(found), np.int64)
    columns = np.array([found[handle] for handle in handles_H.tolist()], float).T
    return Repeats(handles_H, columns[0], columns[1], columns[2] / total)
