"""Which codebook a training run binds its checkpoint to: the parent's, or the first learned one.

Version zero needs no data and knows nothing of topics; as soon as there are enough items, a run learns a version from
their content and from who engaged with what in sequence, and the checkpoint that comes of it brings model and codebook
to the scorers together.

Invariant: nothing held out for the gate is among the sequences.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from store.items import ItemCard
from store.settings import Settings
from trainer.model.corpus import Corpus
from trainer.semantic_ids.codebook import ZERO_VERSION, Codebook, zero_codebook
from trainer.semantic_ids.training import train_codebook
from trainer.semantic_ids.word_map import parts_of

CodebookRequest = Literal["", "refresh", "anew"]

log = logging.getLogger("sidestream.trainer")


def choose_codebook(
    current: Codebook | None,
    listed: Sequence[ItemCard],
    corpus: Corpus,
    held_E: np.ndarray,
    settings: Settings,
    heartbeat: Callable[[str, float], None],
    request: CodebookRequest = "",
) -> Codebook:
    """The codebook of the next checkpoint. `current` is the parent's, `listed` the corpus's items in its order;
    `request`: `refresh` it, or train one `anew`."""
    current = current or zero_codebook(settings)
    due = current.version == ZERO_VERSION and len(listed) >= settings.codebook.learn_after_items
    if not (request or due):
        return current
    learned_E = ~held_E & (corpus.weight_E > 0)
    book = train_codebook(
        [parts_of(card) for card in listed],
        sequences_of(corpus.user_E[learned_E], corpus.item_E[learned_E]),
        settings,
        parent=current,
        anew=request == "anew",
        seed=settings.codebook.seed,
        progress=lambda _, done: heartbeat("codebook", done),
    )
    if book.about["unmapped"]:
        log.warning("%s passes over %s: run `sidestream codebook train`", book.version, book.about["unmapped"])
    log.info("learned %s from %d items (%s)", book.version, len(listed), dict(book.about))
    return book


def sequences_of(user_E: np.ndarray, item_E: np.ndarray) -> list[np.ndarray]:
    """Each user's items in order; events are sorted by user."""
    found: list[np.ndarray] = np.split(item_E, np.flatnonzero(np.diff(user_E)) + 1)
    return [items for items in found if len(items) > 1]


def assigner(codebook: Codebook) -> Callable[[Sequence[ItemCard]], np.ndarray]:
    """Codes (N, levels) of cards under `codebook`: as their worker published them, or assigned here."""

    def codes_of(listed: Sequence[ItemCard]) -> np.ndarray:
        codes_NL = np.zeros((len(listed), codebook.levels), np.int64)
        other = [place for place, card in enumerate(listed) if card.codebook != codebook.version]
        for place, card in enumerate(listed):
            if card.codebook == codebook.version:
                codes_NL[place] = card.codes
        if other:
            codes_NL[other] = codebook.assign_parts([parts_of(listed[place]) for place in other])
        return codes_NL

    return codes_of
