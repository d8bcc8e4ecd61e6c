"""The corpus: a window of the log as flat arrays, which training and the gate share.

Invariant: events are sorted by user and then in the order of the log, so a user's history before an event is the slice
right before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from store.events import KIND_CODES, Engagement
from store.items import ItemCard
from store.log import LoggedEngagement
from trainer.content.projection import RAW_WIDTH, raw_of
from trainer.model.branch_prior import BranchPrior
from trainer.model.vocabulary import TASKS

VECTOR_WIDTH = 64
"""Of published vectors (`trainer.items.vector_learning`); another width counts as none."""

MOMENTS = 48
"""How finely the prior's time is cut while learning."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Engagements with items that have a semantic ID, sorted by user and then in the order of the log (E events).

    `value_E` is NaN where there is none; `task_E` is -1 where none is named; `from_E` says which of `places` (country,
    device) it came from. By item: `codes_IL`, `texts`, when it was uploaded, raw content (float16), and the vector
    that was published before what is to be learned (float16; zeros where there was none).
    `asked`: event → (query, item at hand) where the engagement answered a search or stood beside an item.
    """

    item_ids: list[str]
    codes_IL: np.ndarray
    texts: list[str]
    user_ids: list[str]
    user_E: np.ndarray
    item_E: np.ndarray
    kind_E: np.ndarray
    occurred_E: np.ndarray
    value_E: np.ndarray
    weight_E: np.ndarray
    task_E: np.ndarray
    partition_E: np.ndarray
    offset_E: np.ndarray
    stamp_E: np.ndarray
    from_E: np.ndarray
    places: list[tuple[str | None, str | None]]
    asked: Mapping[int, tuple[str | None, int | None]]
    attributes: Mapping[int, Mapping[str, str | float]]
    uploaded_I: np.ndarray
    content_IC: np.ndarray
    vector_IV: np.ndarray

    def __len__(self) -> int:
        return len(self.user_E)

    def gap_E(self) -> np.ndarray:
        """Seconds since the same user's engagement before; infinite for the first."""
        gap_E = np.diff(self.occurred_E, prepend=-np.inf)
        gap_E[np.diff(self.user_E, prepend=-1) != 0] = np.inf
        return gap_E


def text_of(card: ItemCard) -> str:
    """The words by which an item is known to the model: title, tags, category."""
    return ", ".join(part for part in (card.title, *card.tags, card.category or "") if part)


def corpus_of(
    engagements: Sequence[LoggedEngagement],
    items: Mapping[str, ItemCard],
    weights: Mapping[str, float],
    attributes: Mapping[str, Mapping[str, str | float]] | None = None,
    vectors: Mapping[str, np.ndarray] | None = None,
) -> Corpus:
    """A corpus whose items have no codes yet (`codes_IL` of no levels): which codebook they get depends on it. Kinds of
    weight 0 are left out, and engagements with items that are not live."""
    item_ids = sorted(items)
    item_at = {item_id: place for place, item_id in enumerate(item_ids)}
    known = [
        logged
        for logged in engagements
        if logged.event.item_id in item_at and weights.get(logged.event.kind, 0.0) != 0.0
    ]
    user_ids = sorted({logged.event.user_id for logged in known})
    user_at = {user_id: place for place, user_id in enumerate(user_ids)}
    known.sort(key=lambda logged: (user_at[logged.event.user_id], logged.partition, logged.offset))
    events = [logged.event for logged in known]
    places = sorted({(e.country, e.device) for e in events}, key=str)
    place_at = {place: number for number, place in enumerate(places)}
    return Corpus(
        item_ids=item_ids,
        codes_IL=np.zeros((len(item_ids), 0), np.int64),
        texts=[text_of(items[item_id]) for item_id in item_ids],
        user_ids=user_ids,
        user_E=np.array([user_at[e.user_id] for e in events], np.int64),
        item_E=np.array([item_at[e.item_id] for e in events], np.int64),
        kind_E=np.array([KIND_CODES[e.kind] for e in events], np.int64),
        occurred_E=np.array([e.occurred_at for e in events], np.float64),
        value_E=np.array([np.nan if e.value is None else e.value for e in events], np.float64),
        weight_E=np.array([weights[e.kind] for e in events], np.float64),
        task_E=np.array([TASKS.index(e.task) if e.task in TASKS else -1 for e in events], np.int64),
        partition_E=np.array([logged.partition for logged in known], np.int64),
        offset_E=np.array([logged.offset for logged in known], np.int64),
        stamp_E=np.array([logged.timestamp_ms for logged in known], np.int64),
        from_E=np.array([place_at[e.country, e.device] for e in events], np.int64),
        places=places,
        asked=_asked(events, item_at),
        attributes={user_at[u]: a for u, a in (attributes or {}).items() if u in user_at and a},
        uploaded_I=np.array([items[item_id].uploaded_at for item_id in item_ids]),
        content_IC=content_of([items[item_id] for item_id in item_ids]),
        vector_IV=_vectors(item_ids, vectors or {}),
    )


def content_of(cards: Sequence[ItemCard]) -> np.ndarray:
    """Raw content of cards (N C, float16)."""
    content_NC = np.zeros((len(cards), RAW_WIDTH), np.float16)
    for place, card in enumerate(cards):
        content_NC[place] = raw_of(card)
    return content_NC


def _vectors(item_ids: Sequence[str], vectors: Mapping[str, np.ndarray], width: int = VECTOR_WIDTH) -> np.ndarray:
    vector_IV = np.zeros((len(item_ids), width), np.float16)
    for place, item_id in enumerate(item_ids):
        vector_V = vectors.get(item_id)
        if vector_V is not None and len(vector_V) == width:
            vector_IV[place] = vector_V
    return vector_IV


def _asked(events: Sequence[Engagement], item_at: Mapping[str, int]) -> dict[int, tuple[str | None, int | None]]:
    found: dict[int, tuple[str | None, int | None]] = {}
    for place, event in enumerate(events):
        context = item_at.get(event.context_item_id or "")
        if event.query or context is not None:
            found[place] = (event.query, context)
    return found


def cut_offsets(corpus: Corpus, newest: int) -> dict[int, int]:
    """Partition → the first offset to hold out, so that about `newest` positive engagements, the newest by broker time,
    lie at or after the cut. Partitions without any are not named."""
    positive = np.flatnonzero(corpus.weight_E > 0)
    order = np.lexsort((corpus.offset_E[positive], corpus.partition_E[positive], corpus.stamp_E[positive]))
    held = positive[order[len(order) - min(newest, len(order)) :]]
    parts = corpus.partition_E[held]
    return {int(p): int(corpus.offset_E[held][parts == p].min()) for p in np.unique(parts)}


def held_out(corpus: Corpus, cut: Mapping[int, int]) -> np.ndarray:
    """Which events (E bool) lie at or after the cut of their partition."""
    return at_or_after(corpus, cut)


def at_or_after(corpus: Corpus, offsets: Mapping[int, int]) -> np.ndarray:
    """Which events (E bool) lie at or after their partition's offset; partitions not named hold none."""
    mask_E = np.zeros(len(corpus), bool)
    for partition, offset in offsets.items():
        mask_E |= (corpus.partition_E == partition) & (corpus.offset_E >= offset)
    return mask_E


def recency(corpus: Corpus, learn_E: np.ndarray, half_life: float = 1.0, floor: float = 0.1) -> np.ndarray:
    """How much each event counts (E): half for each `half_life` of the learned events that came after it, and never
    less than `floor`. What is popular now is the prior's business; what goes with what moves slowly."""
    order = _in_time(corpus, learn_E)
    weight_E = np.full(len(corpus), floor)
    later = np.arange(len(order))[::-1] / max(1, len(order))
    weight_E[order] += 0.5 ** (later / half_life)
    return weight_E


PRIOR_HALF_LIFE = 0.03
"""Half-life of a count in the prior, as a part of the engagements learned from: what is popular moves fast."""


def _half_life(learned: int) -> float:
    return max(100.0, PRIOR_HALF_LIFE * learned)


def moments(corpus: Corpus, learned_E: np.ndarray, widths: Sequence[int]) -> tuple[BranchPrior, np.ndarray]:
    """The prior over the learned engagements' time, and each event's moment in it (E; 0, where nothing is known yet,
    also for those not learned)."""
    order = _in_time(corpus, learned_E)
    prior = BranchPrior.over_time(corpus.codes_IL[corpus.item_E[order]], widths, _half_life(len(order)), MOMENTS)
    moment_E = np.zeros(len(corpus), np.int64)
    moment_E[order] = np.arange(len(order)) * MOMENTS // max(1, len(order))
    return prior, moment_E


def popularity_of(corpus: Corpus, learned_E: np.ndarray) -> dict[str, float]:
    """What a scorer needs to see popularity as the prior did: `half_life_s`, the half-life of its counts in event time
    at the end of what was learned, and `unit`, the mean weight of an engagement."""
    order = _in_time(corpus, learned_E)
    if not len(order):
        return {}
    half_life = _half_life(len(order))
    newest = order[-round(3 * half_life) :]
    span_s = max(1.0, float(corpus.occurred_E[newest[-1]] - corpus.occurred_E[newest[0]]))
    return {"half_life_s": span_s * half_life / len(newest), "unit": float(corpus.weight_E[newest].mean())}


def _in_time(corpus: Corpus, learned_E: np.ndarray) -> np.ndarray:
    """The learned engagements in order of event time."""
    learned = np.flatnonzero(learned_E)
    return learned[np.argsort(corpus.occurred_E[learned], kind="stable")]
