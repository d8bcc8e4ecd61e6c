"""Filters: which items may be returned to a request at all.

Invariant: what is not live, what the user has (unless items repeat) or has turned away, the item viewed, what the
request excludes or had on earlier pages, and what its filters leave out never is. Of candidates that the application
names itself only what is not live, excluded, on earlier pages or left out by filters is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from store.histories import UserRow
from store.requests import Request, shown_before
from trainer.items.catalog import Catalog

Reason = Literal["filtered", "excluded", "on_show", "turned_away", "had"]
LABELS = ("categories", "languages", "creator_ids", "tags")
"""Fields of a request that name labels of items."""


def allowed_items(
    catalog: Catalog, request: Request, user: UserRow | None, repeats: bool = False, *, now_s: float = 0.0
) -> np.ndarray:
    """Which handles may be returned (N, bool). With `repeats`, what the user has may be; ages are as of `now_s`."""
    allowed_N = wanted_items(catalog, request, now_s)
    allowed_N &= catalog.live_N[: len(allowed_N)]
    for _, handles in _left_out(catalog, request, user, repeats):
        allowed_N[[handle for handle in handles if 0 <= handle < len(allowed_N)]] = False
    return allowed_N


def wanted_items(catalog: Catalog, request: Request, now_s: float) -> np.ndarray:
    """What the candidates and the filters of a request leave (N, bool)."""
    wanted_N = np.ones(size := len(catalog), bool)
    if request.candidates:
        wanted_N[:] = False
        wanted_N[[handle for handle in catalog.known(request.candidates) if handle < size]] = True
    for field in LABELS:
        if values := getattr(request, field):
            wanted_N &= catalog.labels.bearers(field, values, size)
    if request.max_age_s is not None:
        wanted_N &= catalog.uploaded_at_N[:size] >= now_s - request.max_age_s
    return wanted_N


def left_out(
    catalog: Catalog, request: Request, user: UserRow | None, repeats: bool = False, *, now_s: float = 0.0
) -> dict[Reason, int]:
    """How many live items may not be returned, each counted under the first reason that it has."""
    live_N = catalog.live_N[: len(catalog)].copy()
    unwanted_N = live_N & ~wanted_items(catalog, request, now_s)[: len(live_N)]
    counts: dict[Reason, int] = {"filtered": int(np.count_nonzero(unwanted_N))}
    live_N &= ~unwanted_N
    for reason, handles in _left_out(catalog, request, user, repeats):
        found = {handle for handle in handles if 0 <= handle < len(live_N) and live_N[handle]}
        live_N[list(found)] = False
        counts[reason] = len(found)
    return counts


def _on_earlier_pages(catalog: Catalog, request: Request) -> list[int]:
    if not request.page:
        return []
    hashes_M = np.array(shown_before(request.page), np.uint64)
    found: list[int] = catalog.by_hash.find(hashes_M).tolist()
    return found


def _left_out(
    catalog: Catalog, request: Request, user: UserRow | None, repeats: bool
) -> Iterator[tuple[Reason, list[int]]]:
    """Why an item is not returned, and the handles that this holds for; -1 for an item without one."""
    yield "excluded", catalog.known(request.exclude) + _on_earlier_pages(catalog, request)
    if request.candidates:
        return
    yield "on_show", catalog.known([request.item_id or ""])
    if user is not None:
        refused = catalog.known(entry.item_id for entry in user.decisions() if entry.weight < 0)
        yield "turned_away", refused + catalog.by_hash.find(user.refused_hashes()).tolist()
        if not repeats:
            yield "had", catalog.by_hash.find(user.seen_hashes()).tolist()
