"""The tower: an item as what it now is, beside the codes by which it was learned.

Codes alone make an item that came after the checkpoint a stranger: its deeper codes may never have been seen, and what
is engaged with since is not in them. So wherever the model reads an item, and whenever it scores one, it is told three
things: its codes, its content (`trainer.content.projection`, raw), and the vector that its owner published last. Each
goes through a projection of its own, and each is hidden at random while learning, so that any of them will do alone.

What is read is added to a position (width D); what is scored is a vector of width O, the dot product of which with
the query says how much more than its popularity this item suits; a gain says what that popularity counts. The query is
the state's own and, times a gain, the history's: the discounted mean of the vectors of its items (as in FISM, Kabbur et
al. 2013). So before anything is learned an item suits whose history is like it in content and codes, and learning goes
on from there; what nobody has engaged with is never judged by noise.

The vectors' projections start at zero: a lineage that has never seen vectors is not disturbed by them.

Legend: N items, C raw content, V published vector, L levels, D the trunk's width, O the tower's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.content.projection import RAW_WIDTH

DISCOUNT = 0.8
"""What an item of the history counts for in its taste, of what the one after it counts."""

CONTENT_HIDDEN, VECTOR_HIDDEN, CODES_HIDDEN = 0.15, 0.3, 0.15
"""How often each part of an item is hidden while learning."""


@dataclass(frozen=True, slots=True)
class TowerShape:
    """`content` and `vector`: widths of what is told of an item; `out`: width of the vector that scores it."""

    content: int = RAW_WIDTH
    vector: int = 64
    out: int = 64


class ItemTower(nn.Module):
    """Projections of content and vector into positions, and of all three into what is scored."""

    def __init__(self, shape: TowerShape, width: int, codes: int) -> None:
        super().__init__()
        self.shape = shape
        self.content_in = nn.Linear(shape.content, width, bias=False)
        self.vector_in = nn.Linear(shape.vector, width, bias=False)
        self.content_out = nn.Linear(shape.content, shape.out, bias=False)
        self.vector_out = nn.Linear(shape.vector, shape.out, bias=False)
        self.codes_out = nn.Parameter(torch.randn(codes, shape.out) * 0.5 * shape.out**-0.5)
        self.out_norm = nn.RMSNorm(shape.out)
        self.query_norm = nn.RMSNorm(width)
        self.query = nn.Linear(width, shape.out)
        self.gain = nn.Linear(width, 2)
        self._initialise()

    def _initialise(self) -> None:
        """Content speaks as loudly as codes, vectors not yet, popularity as it is."""
        nn.init.normal_(self.content_in.weight, std=self.content_in.out_features**-0.5)
        nn.init.normal_(self.content_out.weight, std=0.7 * self.content_out.out_features**-0.5)
        for module in (self.vector_in, self.vector_out, self.gain):
            nn.init.zeros_(module.weight)
        nn.init.normal_(self.query.weight, std=0.05 * self.query.in_features**-0.5)
        nn.init.zeros_(self.query.bias)
        nn.init.ones_(self.gain.bias)

    def into(self, content_NC: Tensor, vector_NV: Tensor) -> Tensor:
        """What content and vector add to a position that holds the item (N D)."""
        content_ND, vector_ND = self.content_in(content_NC), self.vector_in(vector_NV)
        out: Tensor = self._seen(content_ND, CONTENT_HIDDEN) + self._seen(vector_ND, VECTOR_HIDDEN)
        return out

    def described(self, places_NL: Tensor, content_NC: Tensor) -> Tensor:
        """What codes and content say of items (N O), before the vector; `places_NL`: rows of all levels' codes."""
        codes_NO = F.embedding(places_NL, self.codes_out).sum(1)
        out: Tensor = self._seen(codes_NO, CODES_HIDDEN) + self._seen(self.content_out(content_NC), CONTENT_HIDDEN)
        return out

    def out(self, described_NO: Tensor, vector_NV: Tensor) -> Tensor:
        """The vectors that are scored (N O)."""
        out: Tensor = self.out_norm(described_NO + self._seen(self.vector_out(vector_NV), VECTOR_HIDDEN))
        return out

    def asks(self, asked_ND: Tensor, taste_NO: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (N O) and how much popularity counts (N 1). `taste_NO`: the discounted mean of what the history's
        items are scored by; zeros without a history."""
        state_ND = self.query_norm(asked_ND)
        gain_N2 = self.gain(state_ND)
        query_NO = self.query(state_ND) + 0.5 * gain_N2[:, 1:] * taste_NO
        return query_NO * self.shape.out**-0.5, gain_N2[:, :1]

    @staticmethod
    def tastes(out_BTO: Tensor, held_BT: Tensor) -> Tensor:
        """The discounted mean of the items up to each position (B T O); `held_BT`: where items are (0 or 1)."""
        places_T = torch.arange(held_BT.shape[1], device=held_BT.device)
        order_BT = held_BT.cumsum(1)  # the n-th item, whatever stands between
        behind_BTT = order_BT[:, :, None] - order_BT[:, None, :]
        weight_BTT = DISCOUNT ** behind_BTT.clamp(min=0).float() * held_BT[:, None, :].float()
        weight_BTT = weight_BTT * (places_T[:, None] >= places_T[None, :])
        return weight_BTT @ out_BTO / weight_BTT.sum(2, keepdim=True).clamp(min=1e-6)

    def _seen(self, part_NX: Tensor, hidden: float) -> Tensor:
        if not self.training:
            return part_NX
        return part_NX * (torch.rand(len(part_NX), 1, device=part_NX.device) >= hidden)
