"""The memory table: rows of item vectors in memory only, which is where a replay keeps them.

Invariant: it reads as `store.embeddings.EmbeddingStore` does: what is not admitted yet has no vector, what expired is
absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from store.embeddings import Block, EmbeddingRules


class MemoryTable:
    """Rows in memory only: what a replay keeps. It reads as `EmbeddingStore` does."""

    def __init__(self, rules: EmbeddingRules) -> None:
        self._rules = rules
        self._places: dict[str, int] = {}
        self._block = _empty_block(256, rules.width)
        self._now_s = -np.inf

    def read(self, keys: Sequence[str]) -> Block:
        places = np.fromiter((self._places.get(key, -1) for key in keys), np.int64, len(keys))
        found = _rows_of(self._block, places)
        absent_B = (places < 0) | (found.at_s_B < self._now_s - self._rules.horizon_s)
        found.sights_B[absent_B] = 0
        found.at_s_B[absent_B] = 0.0
        admitted_B = (found.sights_B >= self._rules.admit_after) & (found.sights_B > 0)
        found.vectors_BD[~admitted_B] = 0.0
        found.steps_B[~admitted_B] = 0.0
        return replace(found, admitted_B=admitted_B)

    def stage(self, keys: Sequence[str], block: Block) -> None:
        places = [self._places.setdefault(key, len(self._places)) for key in keys]
        if len(self._places) > len(self._block.steps_B):
            more = _empty_block(max(len(self._block.steps_B), len(keys)), block.vectors_BD.shape[1])
            self._block = _joined(self._block, more)
        mine = self._block
        mine.vectors_BD[places], mine.steps_B[places] = block.vectors_BD, block.steps_B
        mine.sights_B[places], mine.at_s_B[places] = block.sights_B, block.at_s_B
        self._now_s = max(self._now_s, float(block.at_s_B.max(initial=-np.inf)))


def _empty_block(rows: int, width: int) -> Block:
    return Block(
        np.zeros((rows, width), np.float32),
        np.zeros(rows, np.float32),
        np.zeros(rows, np.int64),
        np.zeros(rows),
        np.zeros(rows, bool),
    )


def _rows_of(block: Block, places: np.ndarray) -> Block:
    return replace(
        block,
        vectors_BD=block.vectors_BD[places],
        steps_B=block.steps_B[places],
        sights_B=block.sights_B[places],
        at_s_B=block.at_s_B[places],
        admitted_B=block.admitted_B[places],
    )


def _joined(one: Block, two: Block) -> Block:
    return Block(
        np.concatenate([one.vectors_BD, two.vectors_BD]),
        np.concatenate([one.steps_B, two.steps_B]),
        np.concatenate([one.sights_B, two.sights_B]),
        np.concatenate([one.at_s_B, two.at_s_B]),
        np.concatenate([one.admitted_B, two.admitted_B]),
    )
