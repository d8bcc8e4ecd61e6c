"""Lists: the answer to a question as of a moment, and whether it still holds.

A list is made by the very functions that answer a request, but for exploration, which is each answer's own.

It is handed out while all of this is so:
- what made it serves: the same checkpoint, codebook and ranker (the table's care);
- none of its items was taken down or edited, nor the item that it is about;
- their engagements have not grown (or shrunk) by more than an eighth since: a list of items that few have touched goes
  at the first engagement with any, one of a thousand engagements after 125;
- no more than a 64th of the catalogue, or one item, was uploaded since: a newcomer's list would lack what is fresh;
- it is not older than `max_age_s`, as ages, hours and popularity move by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from store.requests import RecommendedItem
from trainer.answers import Served, lines_at
from trainer.candidate_ranking import Moment
from trainer.items.catalog import Catalog
from trainer.notes import is_known
from trainer.recommender import Recommender
from trainer.selection import selected
from trainer.tables.questions import Question

MOVED = 1 / 8
"""By how much the engagements of a list's items may grow while it holds."""
FRESH = 1 / 64
"""How much of the catalogue may be uploaded while a list holds."""
LINE_BYTES = 900
"""What a line takes in memory, about: its texts, codes and features."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The first lines of an answer (K), with their features (K × F, float16: what is published of them) and handles.
    `about_A`: these and the item that the question names, with the `versions` of their cards, what they had `learned`
    (engagements), and the `uploads` of the catalogue then. `made_at_s`: by the table's clock."""

    items: tuple[RecommendedItem, ...]
    x_KF: np.ndarray
    handles_K: np.ndarray
    about_A: np.ndarray
    versions: tuple[int, ...]
    learned: float
    uploads: int
    made_at_s: float
    may_explore: bool = True

    @property
    def bytes(self) -> int:
        """About what it takes in memory."""
        return LINE_BYTES * (len(self.items) + 1)


@dataclass(frozen=True, slots=True)
class Computed:
    """A list (None: the question has none), and the moment that it was made in: its checkpoint and its ranker."""

    listed: Listed | None
    moment: Moment


def compute(recommender: Recommender, question: Question, length: int, made_at_s: float) -> Computed:
    """The list of a question, up to `length` lines. It has none if its item is not live, or where so few candidates
    are found that what an answer adds to them depends on how long it is. `made_at_s`: now, by the clock that will tell
    its age."""
    catalog, request = recommender.catalog, question.request(length)
    uploads = catalog.uploads
    ranking = recommender.rank(request, None)
    if len(ranking.proposed.get("rest", ())) or not is_known(catalog, request):
        return Computed(None, ranking.moment)
    shown = selected(ranking, recommender.rules.of_task(question.task))
    items, x_KF = lines_at(ranking, shown.places_K)
    listed = _listed(
        catalog,
        question.item_id,
        items,
        x_KF,
        ranking.handles_B[shown.places_K],
        uploads=uploads,
        made_at_s=made_at_s,
        may_explore=shown.may_explore,
    )
    return Computed(listed, ranking.moment)


def listed_from(
    catalog: Catalog, item_id: str | None, served: Served, *, made_at_s: float, may_explore: bool
) -> Listed:
    """The list that an answer is, which was just made."""
    items = served.answer.items
    handles_K = np.array(catalog.known([line.item_id for line in items]), np.int64)
    return _listed(
        catalog,
        item_id,
        items,
        served.x_KF,
        handles_K,
        uploads=catalog.uploads,
        made_at_s=made_at_s,
        may_explore=may_explore,
    )


def _listed(
    catalog: Catalog,
    item_id: str | None,
    items: Sequence[RecommendedItem],
    x_KF: np.ndarray,
    handles_K: np.ndarray,
    *,
    uploads: int,
    made_at_s: float,
    may_explore: bool,
) -> Listed:
    about_A = np.append(handles_K, catalog.known([item_id] if item_id is not None else [])).astype(np.int64)
    return Listed(
        items=tuple(items),
        x_KF=x_KF.astype("<f2"),
        handles_K=handles_K,
        about_A=about_A,
        versions=_versions(catalog, about_A),
        learned=_learned(catalog, about_A),
        uploads=uploads,
        made_at_s=made_at_s,
        may_explore=may_explore,
    )


def holds(listed: Listed, catalog: Catalog, max_age_s: float, now_s: float) -> bool:
    """Whether a list may be handed out at `now_s`, by the table's clock."""
    versions = _versions(catalog, listed.about_A)
    return (
        now_s - listed.made_at_s <= max_age_s
        and -1 not in versions
        and versions == listed.versions
        and abs(_learned(catalog, listed.about_A) - listed.learned) <= MOVED * listed.learned
        and catalog.uploads - listed.uploads <= max(1.0, FRESH * catalog.live_count)
    )


def _versions(catalog: Catalog, about_A: np.ndarray) -> tuple[int, ...]:
    return tuple(map(catalog.cards.version, about_A.tolist()))


def _learned(catalog: Catalog, about_A: np.ndarray) -> float:
    return float(catalog.positives_N[about_A].sum() + catalog.negatives_N[about_A].sum())
