"""Filters: which items may be returned to a request at all.

Invariant: what is not live, what the user has (unless items repeat) or has turned away, and the item viewed never is.
"""

from __future__ import annotations

import numpy as np

from store.histories import UserRow
from store.requests import Request
from trainer.items.catalog import Catalog


def allowed_items(catalog: Catalog, request: Request, user: UserRow | None, repeats: bool = False) -> np.ndarray:
    """Which handles may be returned (N, bool). With `repeats`, what the user has may be."""
    allowed_N = catalog.live_N[: len(catalog)].copy()
    if user is not None and user.seen and not repeats:
        have = [catalog.by_hash.get(number, -1) for number in user.seen_hashes().tolist()]
        allowed_N[[handle for handle in have if 0 <= handle < len(allowed_N)]] = False
    if user is not None:
        refused = catalog.known(entry.item_id for entry in user.decisions() if entry.weight < 0)
        refused += [catalog.by_hash.get(number, -1) for number in user.refused_hashes().tolist()]
        allowed_N[[handle for handle in refused if 0 <= handle < len(allowed_N)]] = False
    viewed = catalog.handles.get(request.item_id or "")
    if viewed is not None and viewed < len(allowed_N):
        allowed_N[viewed] = False
    return allowed_N
