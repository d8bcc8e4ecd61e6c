"""The tower: an item as what it now is, beside the codes by which it was learned.

Codes alone make an item that came after the checkpoint a stranger: its deeper codes may never have been seen, and what
is engaged with since is not in them. So wherever the model reads an item, and whenever it scores one, it is told three
things: its codes, its content (`trainer.content.projection`, raw), and the vector that its owner published last. Each
goes through a projection of its own, and each is hidden at random while learning, so that any of them will do alone.

And codes say little of single items: where a stream has no text they are drawn by chance, and what two items have in
common is then noise. So every item has a row of its own in a table, found by a hash of its id (the hashing trick,
Weinberger et al. 2009). A row is zero until its item has been learned from: a new item is judged by the other three.

What is read is added to a position (width D); what is scored is a vector of width O, the dot product of which with
the query says how much more than its popularity this item suits; a gain says what that popularity counts. The query is
the state's own and, times a gain, the history's: the discounted mean of the vectors of its items (as in FISM, Kabbur et
al. 2013). So before anything is learned an item suits whose history is like it in content and codes, and learning goes
on from there; what nobody has engaged with is never judged by noise.

The vectors' projections start at zero: a lineage that has never seen vectors is not disturbed by them.

Legend: N items, C raw content, V published vector, L levels, D the trunk's width, O the tower's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from store.keys import hash64
from trainer.content.projection import RAW_WIDTH, fit_projection

DISCOUNT = 0.8
"""What an item of the history counts for in its taste, of what the one after it counts."""

OWN_SCALE = 4.0
"""An item's own row counts so many times: it is seen seldom, and a step moves it by the learning rate at most."""

CONTENT_LENGTH = 1.5
"""How long what content says of an item is when a lineage begins; what codes say is .9 long."""

CONTENT_HIDDEN, VECTOR_HIDDEN, CODES_HIDDEN, OWN_HIDDEN = 0.15, 0.3, 0.15, 0.3
"""How often each part of an item is hidden while learning."""


@dataclass(frozen=True, slots=True)
class TowerShape:
    """`content` and `vector`: widths of what is told of an item; `out`: width of the vector that scores it; `own`: rows
    of the table of items' own vectors, 0 for none."""

    content: int = RAW_WIDTH
    vector: int = 64
    out: int = 64
    own: int = 0


def own_rows(item_ids: Sequence[str], rows: int) -> np.ndarray:
    """The rows of the table of own vectors (N) that these items have."""
    return np.array([hash64(item_id) % max(1, rows) for item_id in item_ids], np.int64)


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
        self.own = nn.Parameter(torch.zeros(max(1, shape.own), shape.out)) if shape.own else None
        self.own_in = nn.Linear(shape.out, width, bias=False) if shape.own else None
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

    def begin(self, content_IC: np.ndarray) -> None:
        """Lets content be read as the retrieval does (`fit_projection`): what all items have in common counts less.
        With too few items that have any, it stays a random projection."""
        fitted = fit_projection(content_IC.astype(np.float32), self.shape.out)
        if fitted is None or content_IC.shape[1] != self.shape.content:
            return
        common_C = fitted.mean_R / max(float(np.linalg.norm(fitted.mean_R)), 1e-9)
        turn_CO = fitted.turn_RC - np.outer(common_C, common_C @ fitted.turn_RC)
        size = np.sqrt(float(np.mean(np.square(content_IC[content_IC.any(axis=1)] @ turn_CO).sum(axis=1))))
        with torch.no_grad():
            self.content_out.weight.copy_(torch.from_numpy(CONTENT_LENGTH / max(size, 1e-9) * turn_CO.T))

    def into(self, content_NC: Tensor, vector_NV: Tensor, own_N: Tensor) -> Tensor:
        """What content, vector and the own row add to a position that holds the item (N D)."""
        return self.described_in(content_NC, own_N) + self._seen(self.vector_in(vector_NV), VECTOR_HIDDEN)

    def described_in(self, content_NC: Tensor, own_N: Tensor) -> Tensor:
        """`into`, before the vector."""
        out: Tensor = self._seen(self.content_in(content_NC), CONTENT_HIDDEN)
        if self.own_in is not None:
            out = out + self.own_in(self._own(own_N))
        return out

    def described(self, places_NL: Tensor, content_NC: Tensor, own_N: Tensor) -> Tensor:
        """What codes, content and the own row say of items (N O), before the vector; `places_NL`: rows of all levels'
        codes."""
        codes_NO = F.embedding(places_NL, self.codes_out).sum(1)
        out: Tensor = self._seen(codes_NO, CODES_HIDDEN) + self._seen(self.content_out(content_NC), CONTENT_HIDDEN)
        return out if self.own is None else out + self._own(own_N)

    def _own(self, own_N: Tensor) -> Tensor:
        assert self.own is not None
        return self._seen(OWN_SCALE * F.embedding(own_N, self.own), OWN_HIDDEN)

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
