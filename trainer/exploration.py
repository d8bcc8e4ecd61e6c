"""Exploration: a bounded share of answers gives its last place to a little-known item, for what showing it would teach.

For an item that nobody has touched there is no evidence, so no ranker would put it first, and nobody would ever learn.
Which one is chosen by Thompson sampling (Thompson, Biometrika 1933; Chapelle and Li, NIPS 2011): each little-known
candidate's click rate is drawn from its Beta posterior, and the highest draw is shown. The prior is what the ranker,
which knows the item's content and the user, expects, held as loosely as a single click: a wide posterior, whose answer
is worth most, is drawn high most often. Each showing without a click narrows it downwards, and from `below`
engagements on an item stands on its own.

Invariant: no more than `share` of the answers explore (in expectation), each with one line; a choice is a function of
the seed, the user, the moment and what was shown before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from store.keys import hash64
from store.requests import Request
from trainer.catalog import Catalog

LEAST_CLICK = 1e-6


@dataclass(frozen=True, slots=True)
class Coverage:
    """Little-known live items, and how many of them were shown at least once; lines shown, and explored ones."""

    little_known: int
    covered: int
    lines: int
    explored: int


class Exploration:
    """What one scorer has shown, and whom it gives a chance next. One thread decides and counts."""

    def __init__(self, share: float, below: int, seed: int) -> None:
        self.share, self.below, self.seed = share, below, seed
        self.lines = 0
        self.explored = 0
        self._shown_N = np.zeros(1024, np.int32)

    def due(self, request: Request, now_s: float, k: int) -> bool:
        """Whether this answer, of `k` lines, is one that explores. A search is not the place, nor is a lone line."""
        draw = hash64(f"{self.seed}/{request.user_id}/{now_s}") / 2.0**64
        return request.task != "search" and k > 1 and draw < self.share

    def choose(self, request: Request, now_s: float, known_B: np.ndarray, shown_B: np.ndarray, p_B: np.ndarray) -> int:
        """The candidate to show: `known_B` positive engagements, `shown_B` showings, `p_B` expected click rates."""
        rng = np.random.default_rng(hash64(f"draw/{self.seed}/{request.user_id}/{now_s}"))
        click_B = 1.0 + known_B
        miss_B = 1.0 / np.clip(p_B, LEAST_CLICK, 0.5) - 1.0 + np.maximum(shown_B - known_B, 0.0)
        return int(np.argmax(rng.beta(click_B, miss_B)))

    def shown(self, handles_B: np.ndarray) -> np.ndarray:
        """How often each was shown."""
        self._reserve(int(handles_B.max(initial=0)))
        return np.asarray(self._shown_N[handles_B], np.float64)

    def note(self, handles_K: np.ndarray, explored: bool) -> None:
        """Counts what an answer shows."""
        self._reserve(int(handles_K.max(initial=0)))
        self._shown_N[handles_K] += 1
        self.lines += len(handles_K)
        self.explored += explored

    def coverage(self, catalog: Catalog) -> Coverage:
        """How far exploration has come among what is live."""
        size, shown_N = len(catalog), self._shown_N  # the answering thread may exchange the array
        little_N = catalog.live_N[:size] & (catalog.positives_N[:size] < self.below)
        covered = int(np.count_nonzero(little_N[: len(shown_N)] & (shown_N[:size] > 0)))
        return Coverage(int(np.count_nonzero(little_N)), covered, self.lines, self.explored)

    def _reserve(self, handle: int) -> None:
        if handle >= len(self._shown_N):
            self._shown_N = np.concatenate([self._shown_N, np.zeros(max(handle, len(self._shown_N)), np.int32)])
