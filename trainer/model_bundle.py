"""The model bundle: what belongs to one checkpoint and is exchanged as one: model, codebook and live prefix tree.

Semantic IDs mean something only to the model that learned them, so a scorer never mixes the parts of two bundles. A
scorer may keep several bundles alive (the serving one, the one before it, one being prepared); each has its own tree,
and each follows the catalogue.

Invariant: the tree holds exactly the live items of the catalogue that it has been told of, under this codebook.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from store.histories import UserRow
from store.items import ItemCard
from store.prefix_tree import PrefixTree
from store.requests import Request
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.prefix_words import PrefixWords
from trainer.semantic_ids.word_map import parts_of

if TYPE_CHECKING:  # the model needs torch, which a worker without a checkpoint never loads
    from trainer.model.beam_search import Generator

log = logging.getLogger(__name__)

NO_CHECKPOINT = "none"
"""The checkpoint named in answers before there is one."""

Proposals = tuple[np.ndarray, np.ndarray]
"""Handles (M) and their log-probabilities (M), best first."""


@dataclass(slots=True, eq=False)
class ModelBundle:
    """One checkpoint ready to serve. `published_at`, `data_until`: epoch seconds. Failures of the model are counted."""

    codebook: Codebook
    checkpoint: str = NO_CHECKPOINT
    generator: Generator | None = None
    published_at: float = 0.0
    data_until: float = 0.0
    beams: int = 24
    tree: PrefixTree = field(init=False)
    words: PrefixWords = field(default_factory=PrefixWords)
    asked: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        self.tree = PrefixTree(self.codebook.widths)

    def codes(self, cards: Sequence[ItemCard]) -> np.ndarray:
        """Codes (N, levels) of cards under this codebook: as published, or assigned here from their content."""
        codes_NL = np.zeros((len(cards), self.codebook.levels), np.int32)
        others = []
        for place, card in enumerate(cards):
            if card.codebook == self.codebook.version:
                codes_NL[place] = card.codes
            else:
                others.append(place)
        if others:
            codes_NL[others] = self.codebook.assign_parts([parts_of(cards[place]) for place in others])
        return codes_NL

    def insert(self, handle: int, card: ItemCard) -> None:
        """Puts a live item into the tree, or moves it."""
        codes_L = self.codes([card])[0]
        self.tree.insert(handle, codes_L)
        self.words.add(handle, codes_L.tolist(), card.title, card.tags)

    def insert_many(self, handles: Sequence[int], cards: Sequence[ItemCard]) -> None:
        """Fills the tree; a hundred thousand items take seconds, so this is done before the bundle serves."""
        if cards:
            codes_NL = self.codes(cards)
            self.tree.insert_many(np.asarray(handles), codes_NL)
            for handle, card, codes in zip(handles, cards, codes_NL.tolist(), strict=True):
                self.words.add(handle, codes, card.title, card.tags)

    def remove(self, handle: int) -> None:
        self.tree.remove(handle)
        self.words.remove(handle)

    def semantic_id(self, handle: int) -> list[int]:
        """The item's codes, empty when it is not live."""
        return list(self.tree.codes_of(handle) or ())

    def prefix_words(self, handle: int, count: int = 5) -> list[str]:
        """Words that tell what the items below this one's first code are about; empty when it is not live."""
        codes = self.tree.codes_of(handle)
        return self.words.of(codes[:1], count) if codes else []

    def propose(self, request: Request, user: UserRow | None, handles: dict[str, int], now_s: float) -> Proposals:
        """What the model expects next: live items by constrained beam search. Nothing when there is no model, or when
        it fails (counted: the scorer rolls back on that); a request never fails with the model."""
        if self.generator is None:
            return _NOTHING
        self.asked += 1
        try:
            return self._propose(request, user, handles, now_s)
        except Exception:
            self.failures += 1
            log.exception("the model of %s failed; the answer goes without it", self.checkpoint)
            return _NOTHING

    def _propose(self, request: Request, user: UserRow | None, handles: dict[str, int], now_s: float) -> Proposals:
        from trainer.model.prompts import Past, prompt_for

        assert self.generator is not None
        history = []
        for entry in user.entries[-64:] if user is not None else ():
            codes = self.tree.codes_of(handles.get(entry.item_id, -1))
            if codes and entry.weight != 0:  # as in training: what a user turned away is part of the history
                history.append(Past(codes, entry.kind, entry.occurred_at, entry.value))
        context = self.tree.codes_of(handles.get(request.item_id or "", -1))
        if not history and context is None and not request.query:
            return _NOTHING
        prompt = prompt_for(
            self.generator.vocabulary,
            task=request.task,
            now=now_s,
            history=history,
            attributes=user.attributes if user is not None else None,
            context=context,
            query=request.query,
        )
        leaves = self.generator.generate([prompt], self.tree, self.beams)[0]
        if not leaves:
            return _NOTHING
        place_M, items_M = self.tree.items_of([leaf for leaf, _ in leaves])
        score_M = np.array([probability for _, probability in leaves])[place_M]
        order = np.argsort(-score_M, kind="stable")
        return items_M[order], score_M[order]


_NOTHING: Proposals = (np.zeros(0, np.int64), np.zeros(0))
