"""Exploration: a bounded share of answers gives its last place to an item with few engagements, to learn about it.

For an item without any engagement there is no evidence, so no ranker would put it first, and nobody would ever learn.
Which one is chosen by Thompson sampling (Thompson, Biometrika 1933; Chapelle and Li, NIPS 2011): the click rate of each
such candidate is drawn from its Beta posterior, and the highest draw is shown. The prior is what the ranker,
which knows the item's content and its few engagements, expects of this user, held as loosely as a single click: what is
least known is drawn high most often. Each showing in vain narrows it downwards, each click on one upwards; from `below`
engagements on an item stands on its own. Every other time only the newest uploads that nobody has touched yet are drawn
for: what the ranker expects of those is a guess from content, and would never win against a single engagement.

Invariant: no more than `share` of the answers explore (in expectation), each with one line; a choice is a function of
the seed, the user, the moment and what was shown before.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from store.requests import Request
from trainer.items.catalog import Catalog

LEAST_CLICK = 1e-6
MOST_DRAWN = 50
"""Candidates that are drawn for: the best by their rank."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Live items with few engagements, and how many of them were ever shown; lines shown, and explored ones."""

    explorable: int
    covered: int
    lines: int
    explored: int


class Exploration:
    """What one scorer has shown, and whom it gives a chance next. Any thread may decide and count."""

    def __init__(self, share: float, below: int, seed: int) -> None:
        self.share, self.below, self.seed = share, below, seed
        self.lines = 0
        self.explored = 0
        self._shown_N = np.zeros(1024, np.int32)
        self._hits: dict[int, int] = {}
        self._counting = threading.Lock()

    def due(self, request: Request, now_s: float, k: int) -> bool:
        """Whether this answer, of `k` lines, is one that explores. A search is not the place, nor is a lone line, nor
        what somebody else has chosen."""
        draw = self._draw(request, now_s, "due") / 2.0**64
        return request.task != "search" and not request.candidates and k > 1 and draw < self.share

    def pool(self, request: Request, now_s: float, known_B: np.ndarray, newest_B: np.ndarray) -> np.ndarray:
        """Places of the candidates that are drawn for, of those with `known_B` engagements, best first; `newest_B`
        tells which are among the newest uploads."""
        little = np.flatnonzero(known_B < self.below)
        untouched = little[(known_B[little] == 0) & newest_B[little]]
        by_turns = self._draw(request, now_s, "pool") % 2 == 0
        return (untouched if by_turns and len(untouched) else little)[:MOST_DRAWN]

    def choose(self, request: Request, now_s: float, handles_B: np.ndarray, p_B: np.ndarray) -> int:
        """The place of the candidate to show, of those whose expected click rates are `p_B`."""
        rng = np.random.default_rng(self._draw(request, now_s, "choose"))
        hits_B = np.array([self._hits.get(handle, 0) for handle in handles_B.tolist()], np.float64)
        vain_B = np.maximum(self.shown(handles_B) - hits_B, 0.0)
        return int(np.argmax(rng.beta(1.0 + hits_B, 1.0 / np.clip(p_B, LEAST_CLICK, 0.5) - 1.0 + vain_B)))

    def shown(self, handles_B: np.ndarray) -> np.ndarray:
        """How often each was shown."""
        with self._counting:
            self._reserve(int(handles_B.max(initial=0)))
            return np.asarray(self._shown_N[handles_B], np.float64)

    def note(self, handles_K: np.ndarray, explored: bool) -> None:
        """Counts what an answer shows."""
        with self._counting:
            self._reserve(int(handles_K.max(initial=0)))
            self._shown_N[handles_K] += 1
            self.lines += len(handles_K)
            self.explored += explored

    def hit(self, handle: int) -> None:
        """Somebody engaged positively with a line that was shown."""
        self._hits[handle] = self._hits.get(handle, 0) + 1

    def coverage(self, catalog: Catalog) -> Coverage:
        """How far exploration has come among what is live."""
        size, shown_N = len(catalog), self._shown_N  # the answering thread may exchange the array
        little_N = catalog.live_N[:size] & (catalog.positives_N[:size] < self.below)
        covered = int(np.count_nonzero(little_N[: len(shown_N)] & (shown_N[:size] > 0)))
        return Coverage(int(np.count_nonzero(little_N)), covered, self.lines, self.explored)

    def _draw(self, request: Request, now_s: float, what: str) -> int:
        """64 bits by chance. The lines so far are part of it: a clock may stand still."""
        text = f"{what}/{self.seed}/{request.user_id}/{now_s}/{self.lines}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")

    def _reserve(self, handle: int) -> None:
        if handle >= len(self._shown_N):
            self._shown_N = np.concatenate([self._shown_N, np.zeros(max(handle, len(self._shown_N)), np.int32)])
