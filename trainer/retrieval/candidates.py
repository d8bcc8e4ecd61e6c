"""Candidates: who could be next, proposed by many cheap sources over the whole catalogue.

`gather` takes the best of each source. A source proposes only live items that are not excluded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainer.items.catalog import NEVER, NEWEST, HotLists
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.top import best_of


def gather(evidence: Evidence, allowed_N: np.ndarray) -> dict[str, np.ndarray]:
    """Each source's handles, best first."""
    catalog, rules, size = evidence.catalog, evidence.rules, evidence.size
    quotas = rules.quotas
    proposed = {name: evidence.top(name, allowed_N, quota) for name in evidence.sources if (quota := quotas.get(name))}
    if quotas.get("popular"):
        for window in range(catalog.heat_NW.shape[1]):
            heat_N = catalog.heat_NW[:size, window]
            hottest = catalog.hot.hottest(window)
            if _says_little(hottest, HotLists.DEPTH, allowed_N, quotas["popular"]):
                hottest = np.flatnonzero(allowed_N & (heat_N > NEVER))
            proposed[f"popular_{window}"] = best_of(hottest[hottest < size], heat_N, allowed_N, quotas["popular"])
    if quotas.get("fresh"):
        newest = catalog.newest_handles()
        if _says_little(newest, NEWEST, allowed_N, quotas["fresh"]):
            newest = np.flatnonzero(allowed_N)
        newest = newest[newest < size]
        newest = newest[catalog.positives_N[newest] < rules.fresh_below]
        proposed["fresh"] = best_of(newest, catalog.uploaded_at_N[:size], allowed_N, quotas["fresh"])
    return proposed


def _says_little(listed: np.ndarray, depth: int, allowed_N: np.ndarray, quota: int) -> bool:
    """Whether a list that does not hold all items (it is `depth` long) holds too few of the allowed, as where a request
    asks for one category only: then it takes a look at all."""
    return len(listed) >= depth and int(np.count_nonzero(allowed_N[listed[listed < len(allowed_N)]])) < quota


def rest(evidence: Evidence, allowed_N: np.ndarray, found_B: np.ndarray, count: int) -> np.ndarray:
    """The `count` newest of the items that no source has found: only where there are none may a list be short."""
    other_N = allowed_N.copy()
    other_N[found_B] = False
    return best_of(np.flatnonzero(other_N), evidence.catalog.uploaded_at_N[: evidence.size], None, count)


def united(proposed: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Every handle that any source proposes, once, ascending."""
    found_N = np.zeros(size, bool)
    for handles in proposed.values():
        found_N[handles] = True
    return np.flatnonzero(found_N)
