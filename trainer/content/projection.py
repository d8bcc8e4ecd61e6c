"""The content projection: what an item's maker said, as one vector in which likeness means likeness here.

A card's modalities and the words of its title and tags, hashed, are joined; then half-whitened by the catalogue's own
covariance: what everything here has in common ("beauty", the genre names) counts less, what sets items apart counts
more. It is fitted with the spectral embedding, and every item goes through the same one.

Invariant: before the first fit it is a fixed random projection, so that the first item ever has content.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from store.items import ItemCard
from store.keys import hash64
from trainer.content.vectors import NO_CONTENT, unit_rows

PARTS_WIDTH = 256
WORDS_WIDTH = 512
RAW_WIDTH = PARTS_WIDTH + WORDS_WIDTH
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class ContentProjection:
    """Raw content (R) → content (C): centred by `mean_R`, turned and scaled by `turn_RC`, then of unit length."""

    mean_R: np.ndarray
    turn_RC: np.ndarray

    def of(self, raw_NR: np.ndarray) -> np.ndarray:
        """Content vectors of raw rows; a row without content stays zero."""
        c_NC = (raw_NR - self.mean_R) @ self.turn_RC
        c_NC[~raw_NR.any(axis=-1)] = 0.0
        return unit_rows(c_NC)


def first_projection(width: int) -> ContentProjection:
    """A random projection: keeps likenesses as they are, but for noise."""
    turn_RC = np.random.default_rng(7).standard_normal((RAW_WIDTH, width)).astype(np.float32)
    return ContentProjection(np.zeros(RAW_WIDTH, np.float32), turn_RC)


def fit_projection(raw_NR: np.ndarray, width: int) -> ContentProjection | None:
    """The projection of a catalogue, from a sample of its items; None while too few have content."""
    described = np.flatnonzero(raw_NR.any(axis=1))
    if len(described) < 2 * width:
        return None
    some = raw_NR[described]
    mean_R = some.mean(axis=0)
    centred = some - mean_R
    variance_R, turn_RR = np.linalg.eigh(centred.T @ centred / len(some))
    turn_RC, variance_C = turn_RR[:, ::-1][:, :width], np.maximum(variance_R[::-1][:width], 1e-9)
    return ContentProjection(mean_R, np.asarray(turn_RC * variance_C**-0.25, np.float32))


def raw_of(card: ItemCard) -> np.ndarray:
    """Raw content of a card: its modalities and its words, at equal length; zeros when it says nothing."""
    return _joined(_parts_vector(card.parts()), f"{card.title} {' '.join(card.tags)} {card.category or ''}")


def raw_of_text(text: str, vector: np.ndarray) -> np.ndarray:
    """Raw content of a query and its text vector."""
    return _joined(_parts_vector({"text": vector}), text)


def _joined(parts: np.ndarray, text: str) -> np.ndarray:
    raw_R = np.zeros(RAW_WIDTH, np.float32)
    raw_R[:PARTS_WIDTH] = parts
    places = [_place_of(word) for word in set(_WORD.findall(text.lower()))]
    for place, sign in places:
        raw_R[PARTS_WIDTH + place] += sign
    if places:
        raw_R[PARTS_WIDTH:] /= max(1e-6, float(np.linalg.norm(raw_R[PARTS_WIDTH:])))
    return raw_R


@lru_cache(maxsize=1 << 16)
def _place_of(word: str) -> tuple[int, float]:
    number = hash64(word)
    return number % WORDS_WIDTH, 1.0 if number >> 40 & 1 else -1.0


def _parts_vector(parts: dict[str, np.ndarray]) -> np.ndarray:
    """Modalities at unit length, those of another width turned onto ours by a seeded projection, summed."""
    total = np.zeros(PARTS_WIDTH, np.float32)
    for name, vector in sorted(parts.items()):
        if name == NO_CONTENT or not len(vector):
            continue
        if name != "text" or len(vector) != PARTS_WIDTH:
            vector = vector.astype(np.float32) @ _turn(name, len(vector))
        total += unit_rows(vector[None])[0]
    norm = float(np.linalg.norm(total))
    return total / norm if norm > 0 else total


@lru_cache(maxsize=16)
def _turn(name: str, width: int) -> np.ndarray:
    rng = np.random.default_rng(hash64(f"{name}/{width}"))
    return rng.standard_normal((width, PARTS_WIDTH)).astype(np.float32)
