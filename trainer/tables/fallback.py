"""The fallback: an answer that costs next to nothing, for when the usual one is late or fails.

The lines of the newcomer's list, where one is at hand and wanted, then what is popular, then what is newest; for an
item on show within its category first. No source is asked, no feature computed, no model and no ranker.

Invariant: it holds what any answer may hold: live items, none that the request leaves out or that the user has.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np

from store.histories import UserRow
from store.requests import Answer, Note, RecommendedItem, Request, next_page_of
from trainer.answers import Served
from trainer.items.catalog import NEVER, Catalog
from trainer.notes import is_known, notes_of
from trainer.reasons import reason
from trainer.recommender import Recommender
from trainer.retrieval.filters import allowed_items
from trainer.tables.lists import Listed

POPULAR_WINDOW = 2
"""The half-life by which popular is meant: that of two days."""


def fallback_answer(
    recommender: Recommender, request: Request, user: UserRow | None, why: Note, listed: Listed | None = None
) -> Served:
    """The answer, marked by the note `why` and as degraded. Its lines have no features: nothing is learned of them."""
    began_s = time.perf_counter()
    catalog, bundle, now_s = recommender.catalog, recommender.serving, recommender.now_s
    wanted = request.k if request.task != "similar" or is_known(catalog, request) else 0
    repeats = recommender.rules.repeats
    allowed_N = allowed_items(catalog, request, user, repeats, now_s=now_s)
    first = [] if listed is None else listed.handles_K.tolist()
    items = []
    for handle, source in _chosen(catalog, request, allowed_N, first, wanted):
        item_id = catalog.ids[handle]
        codes = bundle.whole_id(handle, item_id)
        line = RecommendedItem(item_id=item_id, score=0.0, semantic_id=codes, source=source, reason=reason(source, ""))
        items.append(line)
    told = notes_of(catalog, request, user, lines=len(items), repeats=repeats, now_s=now_s)
    answer = Answer(
        items=items,
        checkpoint=bundle.checkpoint,
        codebook=bundle.codebook.version,
        request_id=recommender.number(request),
        took_ms=(time.perf_counter() - began_s) * 1000.0,
        degraded=True,
        notes=[why, *told],
        next_page=next_page_of(request, items),
    )
    return Served(answer, np.zeros((0, 0), np.float32), now_s)


def _chosen(
    catalog: Catalog, request: Request, allowed_N: np.ndarray, first: Iterable[int], wanted: int
) -> list[tuple[int, str]]:
    """Handles with their sources, each once, `wanted` at most."""
    open_N = allowed_N.copy()
    chosen: list[tuple[int, str]] = []
    for handle in first:
        if handle < len(open_N) and open_N[handle] and len(chosen) < wanted:
            open_N[handle] = False
            chosen.append((handle, "popular"))
    for among_N in (_beside(catalog, request, len(open_N)), None):
        among_N = open_N if among_N is None else open_N & among_N
        for handle in _hottest(catalog, among_N, wanted - len(chosen)).tolist():
            open_N[handle] = False
            source = "popular" if catalog.heat_NW[handle, POPULAR_WINDOW] > NEVER else "rest"
            chosen.append((handle, source))
    return chosen


def _beside(catalog: Catalog, request: Request, size: int) -> np.ndarray:
    """Which items share the category of the item on show (none: none)."""
    handle = catalog.handles.get(request.item_id or "", -1)
    card = catalog.cards[handle]
    categories = () if card is None or card.category is None else (card.category,)
    return catalog.labels.bearers("categories", categories, size)


def _hottest(catalog: Catalog, open_N: np.ndarray, count: int) -> np.ndarray:
    """The most popular, among equals the newest: of the hottest and the newest, and of all where these are too few."""
    hottest = catalog.hot.hottest(POPULAR_WINDOW)
    for handles in (hottest, np.union1d(hottest, catalog.newest_handles()), np.arange(len(open_N))):
        known = handles[handles < len(open_N)]
        known = known[open_N[known]]
        if len(known) >= count:
            break
    order = np.lexsort((-catalog.uploaded_at_N[known], -catalog.heat_NW[known, POPULAR_WINDOW]))
    return np.asarray(known[order[: max(0, count)]])
