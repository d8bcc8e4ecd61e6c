"""Filters: which items may be returned to a request at all.

Invariant: what is not live, what the user has (unless items repeat) or has turned away, the item viewed and what the
request excludes never is.
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
    left_out = catalog.known([request.item_id or "", *request.exclude])
    allowed_N[[handle for handle in left_out if handle < len(allowed_N)]] = False
    return allowed_N
