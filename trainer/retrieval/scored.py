"""Scored items: what a source says of the few items that it speaks of, by handle; of all others it says nothing (0).

Invariant: handles ascend and each is there once, so that any items are looked up at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Scored:
    """Items (handles, ascending: M) with one score for each name. Asked for the same array of handles again, it finds
    their places once."""

    __slots__ = ("_asked", "_places", "columns", "handles_M")

    def __init__(self, handles_M: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        self.handles_M, self.columns = handles_M, columns
        self._asked: np.ndarray | None = None
        self._places = handles_M, handles_M

    def of(self, name: str, handles_B: np.ndarray) -> np.ndarray:
        """The scores of some items by one name (B)."""
        score_M = self.columns[name]
        found_B = np.zeros(len(handles_B), score_M.dtype)
        if len(self.handles_M):
            if self._asked is not handles_B:
                self._asked, self._places = handles_B, self._look_up(handles_B)
            at, place = self._places
            found_B[at] = score_M[place]
        return found_B

    def _look_up(self, handles_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the handles it speaks of, and where."""
        place_B = np.minimum(self.handles_M.searchsorted(handles_B), len(self.handles_M) - 1)
        (at,) = (self.handles_M[place_B] == handles_B).nonzero()
        return at, place_B[at]


def grouped(item_E: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The different handles below `size` among some, ascending (M), and where each of these is (E). A look at one byte
    an item of the catalogue, where sorting would cost many times as much."""
    named_N = np.zeros(size, bool)
    named_N[item_E] = True
    (handles_M,) = named_N.nonzero()
    place_N = np.empty(size, np.int32)
    place_N[handles_M] = np.arange(len(handles_M), dtype=np.int32)
    return handles_M, place_N[item_E]


def summed(item_E: np.ndarray, size: int, weights: Mapping[str, np.ndarray]) -> Scored:
    """The sums of each item's weights (E), by name."""
    handles_M, place_E = grouped(item_E, size)
    return Scored(
        handles_M, {name: np.bincount(place_E, weight_E, len(handles_M)) for name, weight_E in weights.items()}
    )


def silent(*names: str) -> Scored:
    """A source that says nothing."""
    return Scored(np.zeros(0, np.int64), dict.fromkeys(names, np.zeros(0, np.float32)))
