"""What one model says of the held-out engagements: its own order of all items, how surprised it is, what it costs.

Items are read with the vectors that were known before the window: those of today know what is asked.

Invariant: nothing here decides; equal models give equal answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from store.memory.prefix_tree import PrefixTree
from trainer.gate.held_out import CUTOFF, HeldOutEvents, Scores, prompt_of, rank_of, scores_of
from trainer.model.beam_search import Generator
from trainer.model.item_table import FixedVectors, ItemTable

PROPOSED = 64
"""For so many of the engagements, items are written out by beam search, too."""
_BEAMS = 24


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """How a model does alone. `loss`: nats per held-out item's codes. `invalid`: the share of its answers that are no
    live item or no number. `answer_ms`: processor time of one answer, the median. `suits`: what it says of the items
    asked about, engagement by engagement."""

    scores: Scores
    loss: float
    invalid: float
    answer_ms: float
    suits: list[np.ndarray] = field(default_factory=list)


def evaluate_model(
    generator: Generator,
    held_out: HeldOutEvents,
    codes_IL: np.ndarray,
    *,
    rows: Sequence[np.ndarray] = (),
    history: int = 100,
    batch: int = 32,
    heartbeat: Callable[[float], object] = float,
) -> ModelEvaluation:
    """A model's answers. `codes_IL`: the corpus's items under its codebook. `rows`: for each engagement, the items (by
    place in the corpus) that `suits` is wanted of."""
    corpus = held_out.corpus
    table = ItemTable(generator.model, FixedVectors(corpus.vector_IV), len(codes_IL))
    table.describe(range(len(codes_IL)), codes_IL, corpus.content_IC, corpus.item_ids)
    prior_I = generator.prior.items(codes_IL, 1)[0].astype(np.float32)
    asked = held_out.asked()
    ranks: list[int | None] = []
    suits: list[np.ndarray] = []
    losses: list[float] = []
    wrong = 0
    for begin in range(0, len(asked), batch):
        heartbeat(begin / len(asked))
        chunk = asked[begin : begin + batch]
        prompts = [prompt_of(generator, held_out, event, codes_IL, history) for event, _ in chunk]
        asked_RD = generator.read(prompts, table)
        suits_RI, gain_R = generator.suits(prompts, asked_RD, table)
        suits_RI = suits_RI[:, : len(prior_I)]
        score_RI = suits_RI + gain_R[:, None] * prior_I
        wrong += int(np.sum(~np.isfinite(score_RI).all(axis=1)))
        for place, ((event, has), score_I) in enumerate(zip(chunk, score_RI, strict=True)):
            true = int(corpus.item_E[event])
            ranks.append(rank_of(best_of(score_I, CUTOFF + len(has)).tolist(), true, has))
            losses.append(-float(generator.log_probabilities(asked_RD[place : place + 1], codes_IL[[true]])[0]))
            if len(rows):
                suits.append(suits_RI[place, rows[begin + place]])
    share, answer_ms = wrong / max(1, len(asked)), float("nan")
    if not wrong:  # a search among what is no number says nothing
        share, answer_ms = _written_out(generator, held_out, codes_IL, table, history)
    return ModelEvaluation(scores_of(ranks), float(np.mean(losses or [np.nan])), share, answer_ms, suits)


def best_of(score_I: np.ndarray, count: int) -> np.ndarray:
    """Places of the highest scores, best first; none of a score that is no number."""
    places = np.flatnonzero(np.isfinite(score_I))
    if len(places) > count:
        places = places[np.argpartition(score_I[places], -count)[-count:]]
    return np.asarray(places[np.argsort(-score_I[places], kind="stable")])


def _written_out(
    generator: Generator, held_out: HeldOutEvents, codes_IL: np.ndarray, table: ItemTable, history: int
) -> tuple[float, float]:
    """The share of what beam search writes that is no live item, and how long one whole answer takes."""
    tree = PrefixTree(generator.vocabulary.widths)
    tree.insert_many(np.arange(len(codes_IL)), codes_IL)
    wrong, written, took_s = 0, 0, []
    for event in held_out.event_N[:: max(1, len(held_out.event_N) // PROPOSED)].tolist():
        began = time.process_time()
        prompt = prompt_of(generator, held_out, event, codes_IL, history)
        asked_1D = generator.read([prompt], table)
        leaves = _leaves(generator, asked_1D, tree)
        generator.suits([prompt], asked_1D, table)
        took_s.append(time.process_time() - began)
        written += max(1, len(leaves))
        wrong += sum(not np.isfinite(score) or not len(tree.items(leaf)) for leaf, score in leaves) + (not leaves)
    return wrong / max(1, written), 1000.0 * float(np.median(took_s or [np.nan]))


def _leaves(generator: Generator, asked_1D: Tensor, tree: PrefixTree) -> list[tuple[int, float]]:
    return generator.search(asked_1D, tree, _BEAMS)[0]
