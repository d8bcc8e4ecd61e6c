"""The held-out engagements that a gate asks about, what was known before each, and how its rank is counted.

Invariant: what is asked of an engagement depends on nothing at or after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.model.beam_search import Generator
from trainer.model.corpus import Corpus
from trainer.model.prompts import Past, Prompt, PromptLimits, prompt_for
from trainer.model.vocabulary import TASKS

FRESH_BELOW = 5
"""An item is fresh with fewer engagements than this in what was learned from."""
CUTOFF = 10


@dataclass(frozen=True, slots=True)
class Scores:
    """How one model did on each of N events: hit (0 or 1) and gain (NDCG) at 10."""

    hit_N: np.ndarray
    gain_N: np.ndarray


@dataclass(frozen=True, slots=True)
class HeldOutEvents:
    """The events that a gate asks about: places in the corpus, their slices, and what was learned before them."""

    corpus: Corpus
    event_N: np.ndarray
    seen_E: np.ndarray
    """Which events (E bool) the candidate has learned from."""

    @staticmethod
    def of(corpus: Corpus, held_E: np.ndarray, limit: int, seed: int) -> HeldOutEvents:
        """At most `limit` of the held-out positive engagements with an item that their user does not have yet."""
        positive_E = corpus.weight_E > 0
        pair_E = corpus.user_E * len(corpus.item_ids) + corpus.item_E
        first = np.zeros(len(corpus), bool)
        first[np.unique(np.where(positive_E, pair_E, -1 - np.arange(len(corpus))), return_index=True)[1]] = True
        event_N = np.flatnonzero(held_E & positive_E & first)
        if len(event_N) > limit:
            event_N = np.sort(np.random.default_rng(seed).choice(event_N, limit, replace=False))
        return HeldOutEvents(corpus, event_N, ~held_E)

    def slices(self) -> dict[str, np.ndarray]:
        """overall, fresh, cold (nothing learned of the item), younger (uploaded after all that was learned), and one
        for each task that is named."""
        corpus = self.corpus
        until_s = corpus.occurred_E[self.seen_E].max(initial=-np.inf)
        item_N = corpus.item_E[self.event_N]
        learned_I = np.bincount(corpus.item_E[self.seen_E & (corpus.weight_E > 0)], minlength=len(corpus.item_ids))
        found = {
            "overall": np.ones(len(self.event_N), bool),
            "fresh": learned_I[item_N] < FRESH_BELOW,
            "cold": learned_I[item_N] == 0,
            "younger": corpus.uploaded_I[item_N] > until_s,
        }
        for place, task in enumerate(TASKS):
            mask_N = corpus.task_E[self.event_N] == place
            if mask_N.any():
                found[task] = mask_N
        return found

    def has(self, event: int) -> set[int]:
        """Items that the user has, by a positive engagement, before the event."""
        begin = self._begin(event)
        return set(self.corpus.item_E[begin:event][self.corpus.weight_E[begin:event] > 0].tolist())

    def past(self, event: int, codes_IL: np.ndarray, length: int) -> list[Past]:
        """The user's history before the event, oldest first."""
        corpus = self.corpus
        return [
            Past(
                codes_IL[corpus.item_E[e]].tolist(),
                int(corpus.kind_E[e]),
                float(corpus.occurred_E[e]),
                None if np.isnan(corpus.value_E[e]) else float(corpus.value_E[e]),
                int(corpus.item_E[e]),
            )
            for e in range(max(self._begin(event), event - length), event)
        ]

    def _begin(self, event: int) -> int:
        return int(np.searchsorted(self.corpus.user_E, self.corpus.user_E[event]))

    def popular(self, window: float = 0.05) -> Scores:
        """What the most engaged items of the newest part of what was learned would have scored."""
        corpus = self.corpus
        learned = np.flatnonzero(self.seen_E & (corpus.weight_E > 0))
        newest = learned[np.argsort(corpus.occurred_E[learned], kind="stable")][-max(100, int(window * len(learned))) :]
        count_I = np.bincount(corpus.item_E[newest], minlength=len(corpus.item_ids))
        order = np.argsort(-count_I, kind="stable")
        ranks = [rank_of(order[: CUTOFF + len(has)].tolist(), int(corpus.item_E[e]), has) for e, has in self.asked()]
        return scores_of(ranks)

    def asked(self) -> list[tuple[int, set[int]]]:
        return [(int(event), self.has(int(event))) for event in self.event_N]


def prompt_of(generator: Generator, held_out: HeldOutEvents, event: int, codes_IL: np.ndarray, history: int) -> Prompt:
    """What the model reads of an event; items by their place in the corpus."""
    corpus = held_out.corpus
    query, context = corpus.asked.get(event, (None, None))
    task = int(corpus.task_E[event])
    country, device = corpus.places[corpus.from_E[event]]
    return prompt_for(
        generator.vocabulary,
        task=TASKS[task] if task >= 0 else ("search" if query else "home"),
        now=float(corpus.occurred_E[event]),
        history=held_out.past(event, codes_IL, history + 1),
        attributes=corpus.attributes.get(int(corpus.user_E[event])),
        context=None if context is None else Past(codes_IL[context].tolist(), 0, 0.0, None, context),
        query=query,
        country=country,
        device=device,
        limits=PromptLimits(history=history),
    )


def rank_of(items: Sequence[int], true: int, has: set[int]) -> int | None:
    """The place (0 is first) of the true item among those that the user does not have, None beyond the cutoff."""
    place = 0
    for item in items:
        if item == true:
            return place
        if item not in has:
            place += 1
            if place == CUTOFF:
                return None
    return None


def scores_of(ranks: Sequence[int | None]) -> Scores:
    hit_N = np.array([rank is not None for rank in ranks], np.float64)
    gain_N = np.array([0.0 if rank is None else 1.0 / np.log2(rank + 2.0) for rank in ranks])
    return Scores(hit_N, gain_N)
