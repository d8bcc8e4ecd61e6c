"""The item loss: the engaged item against a sample of all others, so that the model scores every candidate at once.

The score of an item is the state's query times the item's vector (`trainer.model.item_tower`) plus a gain times the
item's logit in the prior, its popularity at that moment. Negatives are shared by a batch, half drawn by popularity and
half evenly, and log q is taken back (sampled softmax: Bengio and Senécal 2008; in two towers: Yi et al., RecSys 2019).
So what the tower learns is what an item is worth to somebody beyond its popularity, which is read anew when serving.
An item that was not uploaded yet when an engagement happened is no negative of it: else the new would look unwanted.

Legend: B rows, T positions, N targets, K negatives, U items of a batch, I items, M moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.model.batches import Batch
from trainer.model.branch_prior import BranchPrior
from trainer.model.corpus import Corpus
from trainer.model.decoder import Decoder
from trainer.model.item_tower import own_rows
from trainer.model.prompts import NO_ITEM

NEGATIVES = 512
EVEN = 0.5
"""The share of negatives that are drawn evenly over the catalogue."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """The items of a corpus as the tower needs them, and how they are drawn."""

    codes_IL: np.ndarray
    content_IC: np.ndarray
    vector_IV: np.ndarray
    uploaded_I: np.ndarray
    own_I: np.ndarray
    prior_MI: np.ndarray
    chance_I: np.ndarray

    @staticmethod
    def of(corpus: Corpus, prior: BranchPrior, moments: int, learned_E: np.ndarray, own: int = 0) -> Contrast:
        """`moments`: how many the prior has; `learned_E`: the engagements that popularity is counted from; `own`: rows
        of the model's table of own vectors."""
        count_I = np.bincount(corpus.item_E[learned_E], minlength=len(corpus.item_ids)).astype(np.float64)
        even_I = np.full(len(count_I), 1.0 / max(1, len(count_I)))
        chance_I = EVEN * even_I + (1.0 - EVEN) * count_I / count_I.sum() if count_I.any() else even_I
        prior_MI = prior.items(corpus.codes_IL, moments)
        own_I = own_rows(corpus.item_ids, own)
        items = (corpus.codes_IL, corpus.content_IC, corpus.vector_IV, corpus.uploaded_I, own_I)
        return Contrast(*items, prior_MI, chance_I / chance_I.sum())

    def inputs(self, model: Decoder, item_BT: np.ndarray) -> tuple[Tensor, Tensor] | None:
        """What the tower adds to a batch's positions (B T D), and the taste at each (B T O); None without any item."""
        held_BT = item_BT != NO_ITEM
        if not held_BT.any():
            return None
        used_U, at_BT = np.unique(item_BT, return_inverse=True)
        known_U1 = _tensor(model, (used_U != NO_ITEM).astype(np.float32))[:, None]
        items = np.maximum(used_U, 0)
        at = _tensor(model, at_BT.reshape(item_BT.shape))
        own_U = _tensor(model, self.own_I[items])
        into_BTD = F.embedding(at, model.tower.into(*self._told(model, items), own_U) * known_U1)
        out_BTO = F.embedding(at, self._out(model, items) * known_U1)
        return into_BTD, model.tower.tastes(out_BTO, _tensor(model, held_BT))

    def draw(self, random: np.random.Generator) -> np.ndarray:
        """The negatives of a batch (K)."""
        at_K = np.searchsorted(np.cumsum(self.chance_I), random.random(NEGATIVES) * (1.0 - 1e-9))
        return np.minimum(at_K, len(self.chance_I) - 1)

    def scores(self, model: Decoder, batch: Batch, asked_ND: Tensor, taste_NO: Tensor, drawn_K: np.ndarray) -> Tensor:
        """Of each target, first, and of the negatives, log q taken back (N 1+K)."""
        used_U, at = np.unique(np.concatenate([batch.item_N, drawn_K]), return_inverse=True)
        own_N, drawn_at_K = at[: len(batch.item_N)], at[len(batch.item_N) :]
        out_UO = self._out(model, used_U)
        query_NO, gain_N1 = model.tower.asks(asked_ND, taste_NO)
        prior_NU = self.prior_MI[np.minimum(batch.moment_N, len(self.prior_MI) - 1)][:, used_U]
        score_NU = query_NO @ out_UO.T + gain_N1 * _tensor(model, prior_NU.astype(np.float32))
        taken_back_K = np.log(len(drawn_K) * self.chance_I[drawn_K]).astype(np.float32)
        rival_NK = score_NU[:, _tensor(model, drawn_at_K)] - _tensor(model, taken_back_K)
        none_NK = (drawn_K == batch.item_N[:, None]) | (self.uploaded_I[drawn_K] > batch.occurred_N[:, None])
        rival_NK = rival_NK.masked_fill(_tensor(model, none_NK), -1e9)
        return torch.cat([score_NU.gather(1, _tensor(model, own_N)[:, None]), rival_NK], 1)

    def _out(self, model: Decoder, items: np.ndarray) -> Tensor:
        """What items are scored by (U O)."""
        content_UC, vector_UV = self._told(model, items)
        places_UL = model.code_places(_tensor(model, self.codes_IL[items].astype(np.int64)))
        own_U = _tensor(model, self.own_I[items])
        return model.tower.out(model.tower.described(places_UL, content_UC, own_U), vector_UV)

    def _told(self, model: Decoder, items: np.ndarray) -> tuple[Tensor, Tensor]:
        content_UC = _tensor(model, self.content_IC[items].astype(np.float32))
        return content_UC, _tensor(model, self.vector_IV[items].astype(np.float32))


def _tensor(model: Decoder, array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(model.embedding.weight.device)
