"""Speakers: which past item speaks most for a candidate: the one without which the source that ranks it highest would
say least.

A source that rests on a history adds up what its items say, each by its place; so what it would say without one of
them, with those behind it one place further up, is known without ranking again.

Invariant: the parts of a source add up to its score (but for a factor that all parts share: a mean, the length of a
vector).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.retrieval.evidence import COUNT_DECAY, WORDS_DECAY, WORDS_ITEMS, Evidence

_LAST = ("after_last", "spectral_last", "vector_last", "words_last")
_VECTORS = ("spectral_taste", "vector_taste", "content_spectral", "content_taste")


def speaker(evidence: Evidence, source: str, handle: int) -> int | None:
    """The handle of the past item that speaks most for an item, by one source; None where no past item does."""
    taste = evidence.taste.handles_L
    if not len(taste):
        return None
    if source in _LAST:
        return int(taste[0])
    parts_of = _PARTS.get(source)
    if parts_of is None:
        return None
    parts_L = parts_of(evidence, source, handle)
    if not len(parts_L) or parts_L.max() <= 0:
        return None
    if source in _VECTORS:
        return int(taste[_cosine_without(evidence, source, handle).argmin()])
    return int(taste[_without(parts_L[:, None], _discount(evidence, source, len(parts_L)))[:, 0].argmin()])


def _discount(evidence: Evidence, source: str, count: int) -> np.ndarray:
    """What each place counts for by a source."""
    decay = {"counts": COUNT_DECAY, "words": WORDS_DECAY}.get(source)
    place_L = np.arange(count)
    return (1.0 + place_L) ** -evidence.rules.position_power if decay is None else decay**place_L


def _without(part_LD: np.ndarray, discount_L: np.ndarray) -> np.ndarray:
    """The sum of the parts without each of them (L D); those behind it have the discount of one place further up."""
    moved_LD = part_LD[1:] * (discount_L[:-1] / discount_L[1:])[:, None]
    before_LD = np.cumsum(part_LD, axis=0) - part_LD
    behind_LD = np.zeros_like(part_LD)
    behind_LD[:-1] = np.cumsum(moved_LD[::-1], axis=0)[::-1]
    return np.asarray(before_LD + behind_LD)


def _cosine_without(evidence: Evidence, source: str, handle: int) -> np.ndarray:
    kept_L = _speaking(evidence, source)
    past_LD, item_D = _vectors(evidence, source, kept_L, handle)
    discount_L = _discount(evidence, source, len(kept_L))
    left_LD = _without(past_LD * discount_L[:, None], discount_L)
    length_L = np.maximum(np.linalg.norm(left_LD, axis=1), 1e-12)
    return np.asarray(left_LD @ item_D / length_L)


def _speaking(evidence: Evidence, source: str) -> np.ndarray:
    handles_L = evidence.taste.handles_L
    return handles_L[: evidence.rules.near] if source == "content_taste" else handles_L


def parts(evidence: Evidence, source: str, handle: int) -> np.ndarray:
    """What each past item (L, or as many as speak by this source) brings to an item's score by one source."""
    return _PARTS[source](evidence, source, handle)


def _by_transitions(evidence: Evidence, source: str, handle: int) -> np.ndarray:
    ties = evidence.ties
    here = np.flatnonzero(ties.item_E == handle)
    return np.bincount(ties.place_E[here], ties.weights[source][here], len(evidence.taste.handles_L))


def _by_two_hops(evidence: Evidence, _: str, handle: int) -> np.ndarray:
    """What a hop brings is shared among the items that lead to it, as they share in its score."""
    hops = evidence.hops
    here = np.flatnonzero(hops.item_E == handle)
    found_L = np.zeros(len(evidence.taste.handles_L))
    for hop, weight in zip(hops.place_E[here].tolist(), hops.weights["two_hops"][here].tolist(), strict=True):
        parts_L = _by_transitions(evidence, "follows", hop)
        found_L += weight * parts_L / max(float(parts_L.sum()), 1e-30)
    return found_L


def _by_vectors(evidence: Evidence, source: str, handle: int) -> np.ndarray:
    kept_L = _speaking(evidence, source)
    past_LD, item_D = _vectors(evidence, source, kept_L, handle)
    return np.asarray(_discount(evidence, source, len(kept_L)) * (past_LD @ item_D))


def _vectors(evidence: Evidence, source: str, past_L: np.ndarray, handle: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the past items (L D) and of the item (D)."""
    spectral, published, content = evidence.spectral, evidence.published, evidence.content
    if source == "vector_taste":
        return published.x_ND[past_L], published.x_ND[handle]
    if source == "content_taste":
        return content.x_NC[past_L], content.x_NC[handle]
    return spectral.x_ND[past_L], (spectral.x_ND if source == "spectral_taste" else spectral.content_ND)[handle]


def _by_words(evidence: Evidence, _: str, handle: int) -> np.ndarray:
    recent_L, lexical = evidence.taste.handles_L[:WORDS_ITEMS], evidence.lexical
    if lexical is None:
        return np.zeros(0)
    weights_L = WORDS_DECAY ** np.arange(len(recent_L))
    return np.asarray(weights_L / max(1e-30, weights_L.sum()) * lexical.alike(handle, recent_L))


_PARTS: dict[str, Callable[[Evidence, str, int], np.ndarray]] = {
    **dict.fromkeys(("follows", "together", "counts"), _by_transitions),
    **dict.fromkeys(_VECTORS, _by_vectors),
    "two_hops": _by_two_hops,
    "words": _by_words,
}
