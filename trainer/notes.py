"""Notes: what an application should know of an answer, above all why it is shorter than was asked for.

Invariant: an answer of fewer than `k` items has at least one note that says why.
"""

from __future__ import annotations

from collections.abc import Mapping

from store.histories import UserRow
from store.requests import UNKNOWN_ITEM, Note, Request
from trainer.items.catalog import Catalog
from trainer.retrieval.filters import Reason, left_out

_TEXTS: Mapping[Reason, str] = {
    "filtered": "the request's filters leave out {}",
    "excluded": "the request excludes {}, or earlier pages had them",
    "on_show": "{}, the one on show, is not shown again",
    "turned_away": "the user has turned {} away",
    "had": "the user has had {}",
}


def notes_of(
    catalog: Catalog,
    request: Request,
    user: UserRow | None,
    *,
    lines: int,
    repeats: bool = False,
    late: bool = False,
    poor: int = 0,
    now_s: float = 0.0,
) -> list[Note]:
    """The notes of an answer of `lines` items, made `late` or not, for which `poor` items were not good enough. Costs
    something only where there is something to note."""
    found = [] if is_known(catalog, request) else [_unknown(request)]
    found += _unknown_candidates(catalog, request)
    if late:
        found.append(Note(reason="late", text=f"the model was not asked: more than {request.within_ms} ms had passed"))
    if lines < request.k and poor:
        text = f"{_items(poor)} would hardly be clicked, or nobody knows yet: none is better than those"
        found.append(Note(reason="poor", items=poor, text=text))
    elif lines < request.k and (request.task != "similar" or is_known(catalog, request)):
        found += _short(catalog, left_out(catalog, request, user, repeats, now_s=now_s), lines, request.k)
    return found


def _unknown_candidates(catalog: Catalog, request: Request) -> list[Note]:
    live = sum(bool(catalog.live_N[handle]) for handle in catalog.known(set(request.candidates)))
    unknown = len(set(request.candidates)) - live
    text = f"{unknown} of the candidates are not in the catalogue (never uploaded, or taken down)"
    return [Note(reason="unknown_candidates", items=unknown, text=text)] if unknown else []


def is_known(catalog: Catalog, request: Request) -> bool:
    """Whether the item that a request names, if it names one, is live."""
    if request.item_id is None:
        return True
    handle = catalog.handles.get(request.item_id)
    return handle is not None and handle in catalog.cards


def _unknown(request: Request) -> Note:
    """The item is not in the catalogue."""
    what = "nothing can be said to be like it" if request.task == "similar" else "the answer goes without it"
    text = f"item_id {request.item_id!r} is not in the catalogue (never uploaded, or taken down): {what}"
    return Note(reason=UNKNOWN_ITEM, text=text)


def _short(catalog: Catalog, counts: Mapping[Reason, int], lines: int, k: int) -> list[Note]:
    live = catalog.live_count
    found = [
        Note(reason=reason, items=count, text=_TEXTS[reason].format(f"{count} of {_items(live)}"))
        for reason, count in counts.items()
        if count
    ]
    if live < k:
        found.insert(0, Note(reason="few_live", items=live, text=f"{_items(live)}: fewer than the {k} asked for"))
    elif live - sum(counts.values()) >= k:
        came = live - sum(counts.values()) - lines
        found.append(Note(reason="just_came", items=came, text=f"{came} items came a moment ago: ask again"))
    return found


def _items(live: int) -> str:
    return f"{live} live item" if live == 1 else f"{live} live items"
