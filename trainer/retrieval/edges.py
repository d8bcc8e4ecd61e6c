"""Edges: the transitions at some items, out of and into each, as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.items.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Edges:
    """Transitions (E) of items, each at a place in the order in which they were asked for: the item at the other end,
    the log2 weight, its share of those that the item has in the same direction, and whether it leads `into` the item
    that was asked for."""

    item_E: np.ndarray
    log_E: np.ndarray
    share_E: np.ndarray
    place_E: np.ndarray
    into_E: np.ndarray

    @classmethod
    def of(cls, catalog: Catalog, handles_L: np.ndarray, size: int) -> Edges:
        """All transitions between these handles and those below `size`."""
        transitions = catalog.transitions
        ends = [end for handle in handles_L.tolist() for end in (transitions.out_of(handle), transitions.into(handle))]
        if not ends:
            none = np.zeros(0, np.int64)
            return cls(none, np.zeros(0), np.zeros(0), none, none.astype(bool))
        item_E, log_E = np.concatenate([item for item, _ in ends]), np.concatenate([log for _, log in ends])
        end_E = np.repeat(np.arange(len(ends)), [len(item) for item, _ in ends])
        inside_E = item_E < size
        if not inside_E.all():
            item_E, log_E, end_E = item_E[inside_E], log_E[inside_E], end_E[inside_E]
        return cls(item_E, log_E, _shares(log_E, end_E, len(ends)), end_E >> 1, (end_E & 1).astype(bool))


def _shares(log_E: np.ndarray, end_E: np.ndarray, ends: int) -> np.ndarray:
    """Each weight's share of the sum of its end."""
    most_G = np.full(ends, -np.inf, np.float32)
    np.maximum.at(most_G, end_E, log_E)
    part_E = np.exp2(log_E - most_G[end_E])
    return np.asarray(part_E / np.bincount(end_E, part_E, ends)[end_E])
