"""Losses: what a model says where a batch wants an item or a word, against what came, and against a teacher.

Legend as in `trainer.model.decoder` and `trainer.model.contrast`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.model.batches import Batch
from trainer.model.branch_prior import BranchPrior
from trainer.model.contrast import Contrast
from trainer.model.decoder import Decoder


class Losses(NamedTuple):
    """Weighted means over a batch: nats per item's codes, plus nats per text token; nats per item among a sample; and
    how far the teacher's answers are from the model's (both sorts together; 0 without a teacher)."""

    codes: Tensor
    items: Tensor
    taught: Tensor


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says of the items of a batch: logits of the codes at each level (L tensors N V) and scores of each
    item and its negatives (N 1+K); `states_BTD` are those of the trunk."""

    states_BTD: Tensor
    code_LNV: list[Tensor]
    score_NK: Tensor


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model under the same codebook. `semantic_begin`: where codes begin in the tokens of what it teaches; words of
    another vocabulary mean nothing to it, so it teaches where there are none."""

    model: Decoder
    semantic_begin: int

    def tokens(self, tokens_BTK: np.ndarray) -> np.ndarray:
        """The teacher's tokens for those of the learner, but for words: only codes lie elsewhere."""
        shift = self.model.shape.semantic_begin - self.semantic_begin
        return np.where(tokens_BTK >= self.semantic_begin, tokens_BTK + shift, tokens_BTK)

    def loss(self, said: Said, batch: Batch, prior: BranchPrior, contrast: Contrast, drawn_K: np.ndarray) -> Tensor:
        """How surprised the teacher would be by the learner's answers, less what it is by its own (N; KL divergence:
        Hinton et al. 2015, "Distilling the knowledge in a neural network")."""
        with torch.no_grad():
            taught = answers(self.model, self.tokens(batch.tokens_BTK), batch, prior, contrast, drawn_K)
        pairs = zip([*taught.code_LNV, taught.score_NK], [*said.code_LNV, said.score_NK], strict=True)
        return torch.stack([_divergence(theirs, own) for theirs, own in pairs]).sum(0)


def answers(
    model: Decoder, tokens_BTK: np.ndarray, batch: Batch, prior: BranchPrior, contrast: Contrast, drawn_K: np.ndarray
) -> Said:
    """What a model says of a batch, read as `tokens_BTK`."""
    states_BTD, taste_BTO = _read(model, tokens_BTK, batch, contrast)
    at = _tensor(model, batch.row_N), _tensor(model, batch.column_N)
    state_ND = states_BTD[at]
    asked_ND = model.ask(state_ND, _tensor(model, batch.ask_NA))
    prior_LNV = [_tensor(model, rows_NV) for rows_NV in prior.path_rows(batch.codes_NL, batch.moment_N)]
    taste_NO = state_ND.new_zeros(len(state_ND), model.shape.tower.out) if taste_BTO is None else taste_BTO[at]
    code_LNV = model.code_scores(asked_ND, _tensor(model, batch.codes_NL), prior_LNV)
    return Said(states_BTD, code_LNV, contrast.scores(model, batch, asked_ND, taste_NO, drawn_K))


def _read(model: Decoder, tokens_BTK: np.ndarray, batch: Batch, contrast: Contrast) -> tuple[Tensor, Tensor | None]:
    """The trunk's states, and the tastes of the histories; no tastes where a batch names no items."""
    read = contrast.inputs(model, batch.item_BT)
    items_BTD, taste_BTO = (None, None) if read is None else read
    return model.trunk(_tensor(model, tokens_BTK), items_BTD=items_BTD), taste_BTO


def code_loss(code_LNV: list[Tensor], codes_NL: Tensor) -> Tensor:
    """Negative log-likelihood of each item's codes (N), summed over levels. Codes below 0 are masked out."""
    levels = [
        F.cross_entropy(logits_NV, codes_NL[:, level], ignore_index=-1, reduction="none")
        for level, logits_NV in enumerate(code_LNV)
    ]
    return torch.stack(levels).sum(0)


def batch_loss(
    model: Decoder,
    prior: BranchPrior,
    contrast: Contrast,
    batch: Batch,
    random: np.random.Generator,
    teacher: Teacher | None = None,
    whole: Batch | None = None,
) -> Losses:
    """The losses of a batch; of a part of one (`whole`), what it adds to the losses of the whole."""
    none = torch.zeros((), device=model.embedding.weight.device)
    codes = items = taught = none
    whole = batch if whole is None else whole
    drawn_K = contrast.draw(random) if len(whole.row_N) else np.zeros(0, np.int64)
    if not len(batch.tokens_BTK):
        return Losses(codes, items, taught)
    if len(batch.row_N):
        said = answers(model, batch.tokens_BTK, batch, prior, contrast, drawn_K)
        weight_N = _tensor(model, batch.weight_N.astype(np.float32))
        code_N = code_loss(said.code_LNV, _tensor(model, batch.codes_NL))
        item_N = torch.logsumexp(said.score_NK, 1) - said.score_NK[:, 0]
        weight = float(whole.weight_N.sum(dtype=np.float32))
        codes, items = (code_N * weight_N).sum() / weight, (item_N * weight_N).sum() / weight
        states_BTD = said.states_BTD
        if teacher is not None:
            taught = (teacher.loss(said, batch, prior, contrast, drawn_K) * weight_N).sum() / weight
    else:
        states_BTD, _ = _read(model, batch.tokens_BTK, batch, contrast)
    if len(batch.text_W):
        state_WD = states_BTD[_tensor(model, batch.text_row_W), _tensor(model, batch.text_column_W)]
        codes = codes + model.text_loss(state_WD, _tensor(model, batch.text_W)).sum() / len(whole.text_W)
    return Losses(codes, items, taught)


def _divergence(theirs_NV: Tensor, own_NV: Tensor) -> Tensor:
    theirs, own = F.log_softmax(theirs_NV, -1), F.log_softmax(own_NV, -1)
    return F.kl_div(own, theirs, log_target=True, reduction="none").sum(-1)


def _tensor(model: Decoder, array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(model.embedding.weight.device)
