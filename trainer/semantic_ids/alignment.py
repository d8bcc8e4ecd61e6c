"""Alignment: which items the same people take in sequence, and a map from content to where those lie together.

Pairs are items a few steps apart in a user's sequence. The map is learned with a contrastive loss (InfoNCE with
in-batch negatives, corrected for popularity), so that an item nobody has touched yet is put, by its content alone,
beside the items whose audience it will share. (The most important part of PLUM's semantic IDs, arXiv 2510.07784.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_STEPS_APART = 3
_LONGEST = 100
TEMPERATURE = 0.07
ALIGNED = 64
HIDDEN = 384
DROPOUT = 0.1
"""Of the standardised content: without it the map learns known items by heart and serves untouched ones worse."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Co-engaged items: (earlier, later) indices, and how likely each pair is drawn."""

    earlier_P: np.ndarray
    later_P: np.ndarray
    chance_P: np.ndarray

    def __len__(self) -> int:
        return len(self.earlier_P)


def pairs_of(sequences: Sequence[np.ndarray | Sequence[int]], most_apart: int = MOST_STEPS_APART) -> Pairs:
    """Pairs of different items up to `most_apart` steps apart in a user's last 100, nearer ones more likely."""
    earlier: list[np.ndarray] = []
    later: list[np.ndarray] = []
    weight: list[np.ndarray] = []
    for sequence in sequences:
        items = np.asarray(sequence, dtype=np.int64)[-_LONGEST:]
        for step in range(1, min(most_apart, len(items) - 1) + 1):
            earlier.append(items[:-step])
            later.append(items[step:])
            weight.append(np.full(len(items) - step, 1.0 / step))
    if not earlier:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    earlier_P, later_P, weight_P = np.concatenate(earlier), np.concatenate(later), np.concatenate(weight)
    differ_P = earlier_P != later_P
    weight_P = weight_P[differ_P]
    return Pairs(earlier_P[differ_P], later_P[differ_P], weight_P / max(weight_P.sum(), 1e-12))


class AlignedMap(nn.Module):
    """One modality's standardised content p_BC → unit aligned_BA: a linear path and a ReLU layer beside it."""

    def __init__(self, content: int) -> None:
        super().__init__()
        self.linear = nn.Linear(content, ALIGNED, bias=False)
        self.hidden = nn.Linear(content, HIDDEN)
        self.out = nn.Linear(HIDDEN, ALIGNED, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(ALIGNED, content))
            self.out.weight.zero_()

    def forward(self, p_BC: Tensor) -> Tensor:
        p_BC = F.dropout(p_BC, DROPOUT, self.training)
        return F.normalize(self.linear(p_BC) + self.out(F.relu(self.hidden(p_BC))), dim=1)


def contrastive(a_BD: Tensor, b_BD: Tensor, a_B: Tensor, b_B: Tensor, log_chance_N: Tensor) -> Tensor:
    """InfoNCE: each a picks its b among all of the batch. An item that is the answer by another row is no negative."""
    logits_BB = a_BD @ b_BD.T / TEMPERATURE - log_chance_N[b_B][None]
    same_BB = (b_B[None] == b_B[:, None]) | (a_B[:, None] == b_B[None])
    same_BB = same_BB & ~torch.eye(len(a_B), dtype=torch.bool)
    loss: Tensor = F.cross_entropy(logits_BB.masked_fill(same_BB, -1e4), torch.arange(len(a_B)))
    return loss
