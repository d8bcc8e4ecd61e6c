"""Codebook drift: whether what has been uploaded since the serving codebook was made fits it much worse than what it
was made of, or there is so much more of it that the version has too few codes. Then the trainer refreshes it, or trains
another, by itself (`codebook.refresh_on_drift`).

Asked now and then: it reads the newest cards of `semantic-ids` only, and quantises those uploaded since.

Invariant: without `ENOUGH` such items there is no drift, and none is ever found under version zero, which was made of
nothing; so a refresh, which is judged by the gate like any run, cannot cause the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Literal

from store.items import ItemCard
from store.log import Log, cards
from store.settings import Settings
from store.topics import SEMANTIC_IDS
from trainer.semantic_ids.codebook import Codebook, outgrown
from trainer.semantic_ids.health import DRIFT_BOUND
from trainer.semantic_ids.word_map import parts_of

ENOUGH = 200
"""Items uploaded since the version was made, without which nothing is said."""
_NEWEST = 1000
"""Records of the topic that are looked at."""
_EVERY_S = 60.0


def drift(codebook: Codebook, listed: Iterable[ItemCard]) -> float:
    """The error of items uploaded since the version was made, divided by what it was on items like those it was made
    of; 1 while there are too few of them."""
    made = float(codebook.about.get("quantization_error") or 0.0)
    since_ms = float(codebook.about.get("trained_at") or float("inf")) * 1000.0
    fresh = [parts_of(card) for card in listed if card.published_at_ms >= since_ms]
    if len(fresh) < ENOUGH or made <= 0:
        return 1.0
    return float(codebook.quantization_error(codebook.fuse(fresh)).mean()) / made


class CodebookDrift:
    """Looks at the log at most once a minute, and only when something came."""

    def __init__(self, log: Log, settings: Settings) -> None:
        self._log = log
        self._settings = settings
        self._ends: dict[int, int] = {}
        self._looked_at = 0.0
        self._seen: tuple[str, float] = ("", 1.0)

    def due(self, codebook: Codebook | None, items: int = 0) -> Literal["", "refresh", "anew"]:
        """What the codebook that serves calls for. `items`: how large the catalogue was found to be, 0 if unknown."""
        if codebook is None or not self._settings.codebook.refresh_on_drift:
            return ""
        if outgrown(codebook, items, self._settings):
            return "anew"
        return "refresh" if self._drift(codebook) > DRIFT_BOUND else ""

    def _drift(self, codebook: Codebook) -> float:
        known = self._seen[0] == codebook.version
        if known and time.monotonic() - self._looked_at < _EVERY_S:
            return self._seen[1]
        self._looked_at = time.monotonic()
        topic = self._settings.topic(SEMANTIC_IDS)
        ends = self._log.ends(topic)
        if not known or ends != self._ends:
            each = _NEWEST // max(1, len(ends))
            newest = {partition: max(0, end - each) for partition, end in ends.items()}
            found = cards(self._log.read(topic, newest, ends), partial(self._log.foreign.met, SEMANTIC_IDS))
            self._ends, self._seen = ends, (codebook.version, drift(codebook, found.values()))
        return self._seen[1]
