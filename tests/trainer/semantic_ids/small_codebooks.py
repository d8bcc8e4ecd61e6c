"""Codebooks of arbitrary numbers, and items for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from store.settings import Settings
from trainer.content.exact_sums import on_grid
from trainer.semantic_ids.codebook import Codebook, Level, ModalityMap, zero_codebook
from trainer.semantic_ids.word_map import WORDS, WordMap

Parts = list[Mapping[str, np.ndarray]]
WORD_COUNT = 40


def parts_of(number: int, seed: int = 0) -> Parts:
    """Items with text, visual, both, or nothing."""
    random = np.random.default_rng(seed)
    both = [{"text": random.standard_normal(32), "visual": random.standard_normal(8)} for _ in range(number)]
    parts: Parts = [
        {k: v.astype("f2") for k, v in part.items() if i % 4 != 3 and (i % 2 or k == "text")}
        for i, part in enumerate(both)
    ]
    return [
        {**part, WORDS: random.permutation(WORD_COUNT)[: i % 5].astype("u2")} if part else part
        for i, part in enumerate(parts)
    ]


def learned_codebook(*, worded: bool = False) -> Codebook:
    """A version with a hidden layer, as training makes them, of arbitrary numbers; `worded`: it knows words, too."""
    random = np.random.default_rng(1)

    def some(*shape: int) -> np.ndarray:
        return on_grid(random.standard_normal(shape) * 0.3)

    text = ModalityMap(some(32), some(32, 16), some(16, 8), some(16, 24), some(24), some(24, 8), share=0.7, weight=0.7)
    return Codebook(
        version="codebook-000003-abc",
        stages=(
            Level(some(8, 24), some(8) * 0.1, some(8, 24)),
            Level(some(8, 24), some(8) * 0.1, some(8, 24), unit=True),
            Level(some(4, 3), some(4) * 0.1, some(4, 24), some(24, 3), unit=True),
        ),
        words=WordMap(np.abs(some(WORD_COUNT)), some(WORD_COUNT, 8)) if worded else None,
        maps={"text": text, "visual": ModalityMap(some(8), some(8, 16), some(16, 8), some(16, 5), some(5), some(5, 8))},
        about={"method": "test", "parent": "codebook-000002-x"},
    )


def some_codebook(kind: str) -> Codebook:
    return zero_codebook(Settings()) if kind == "zero" else learned_codebook(worded=kind == "worded")


KINDS = ("zero", "learned", "worded")
