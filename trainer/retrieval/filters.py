"""Filters: which items may be returned to a request at all.

Invariant: what is not live, what the user has (unless items repeat) or has turned away, the item viewed and what the
request excludes never is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from store.histories import UserRow
from store.requests import Request
from trainer.items.catalog import Catalog

Reason = Literal["excluded", "on_show", "turned_away", "had"]


def allowed_items(catalog: Catalog, request: Request, user: UserRow | None, repeats: bool = False) -> np.ndarray:
    """Which handles may be returned (N, bool). With `repeats`, what the user has may be."""
    allowed_N = catalog.live_N[: len(catalog)].copy()
    for _, handles in _left_out(catalog, request, user, repeats):
        allowed_N[[handle for handle in handles if 0 <= handle < len(allowed_N)]] = False
    return allowed_N


def left_out(catalog: Catalog, request: Request, user: UserRow | None, repeats: bool = False) -> dict[Reason, int]:
    """How many live items may not be returned, each counted under the first reason that it has."""
    counts: dict[Reason, int] = {}
    live_N = catalog.live_N[: len(catalog)].copy()
    for reason, handles in _left_out(catalog, request, user, repeats):
        found = {handle for handle in handles if 0 <= handle < len(live_N) and live_N[handle]}
        live_N[list(found)] = False
        counts[reason] = len(found)
    return counts


def _left_out(
    catalog: Catalog, request: Request, user: UserRow | None, repeats: bool
) -> Iterator[tuple[Reason, list[int]]]:
    """Why an item is not returned, and the handles that this holds for; -1 for an item without one."""
    yield "excluded", catalog.known(request.exclude)
    yield "on_show", catalog.known([request.item_id or ""])
    if user is not None:
        refused = catalog.known(entry.item_id for entry in user.decisions() if entry.weight < 0)
        yield "turned_away", refused + [catalog.by_hash.get(number, -1) for number in user.refused_hashes().tolist()]
        if not repeats:
            yield "had", [catalog.by_hash.get(number, -1) for number in user.seen_hashes().tolist()]
