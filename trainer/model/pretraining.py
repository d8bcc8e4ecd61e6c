"""Continued pre-training: the parent's weights, the window of the log since it, and some of what came before.

Half behaviour (write the next item of a history, and tell it from others: `trainer.model.contrast`), half metadata
(text ↔ semantic ID). Every step takes one batch of each. A run is bounded in steps and in seconds, and the learning
rate falls over whichever is used up first.

When the codebook changed, the semantic-ID tokens are carried over, not drawn anew: an item's old vector (the sum of its
old code embeddings) is taken apart under its new codes, level by level as means of what is left over. So items that the
parent knew keep about the vectors they had, and items that share a new code start from what those have in common.

Invariant: with the same inputs, seed and number of threads, a run that its step bound ends gives the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainer.model.batches import Batch, Behaviour, Metadata
from trainer.model.branch_prior import BranchPrior
from trainer.model.contrast import Contrast
from trainer.model.decoder import Decoder
from trainer.model.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how hard to learn. `positions` and `items` bound the batches of behaviour and of metadata."""

    max_seconds: float = 120.0
    max_steps: int = 100_000
    epochs: float = 4.0
    positions: int = 512
    items: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 50
    metadata_weight: float = 0.3
    item_weight: float = 1.0
    clip: float = 1.0
    seed: int = 0


_TABLES = ("embedding.weight", "tower.codes_out", "tower.own")
_HURRY = 0.05
"""The clock only counts when it is ahead of the work by this part of the run; else runs would not be repeatable."""

Progress = Callable[[float, float], None]
"""Called with (part of the run that is done, current loss of behaviour)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did. Losses are nats per item (all levels), averaged over the last tenth of the steps."""

    steps: int
    targets: int
    seconds: float
    behaviour_loss: float
    metadata_loss: float
    item_loss: float


def pretrain(
    model: Decoder,
    prior: BranchPrior,
    behaviour: Behaviour,
    metadata: Metadata,
    contrast: Contrast,
    plan: Plan,
    progress: Progress | None = None,
) -> Outcome:
    """Trains `model` in place, on a GPU if there is one, and leaves it on the CPU in evaluation mode."""
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    random = np.random.default_rng(plan.seed)
    torch.manual_seed(plan.seed)
    optimiser = _optimiser(model, plan)
    began, step, targets = time.monotonic(), 0, 0
    wanted = max(1.0, plan.epochs * behaviour.targets)
    losses: list[tuple[float, float, float]] = []
    model.train()
    done = 0.0
    while done < 1.0:
        before = step
        for batch in behaviour.batches(plan.positions, random):
            worked = max(step / plan.max_steps, targets / wanted)
            elapsed = (time.monotonic() - began) / plan.max_seconds
            done = elapsed if elapsed > worked + _HURRY else worked
            if done >= 1.0:
                break
            for group in optimiser.param_groups:
                group["lr"] = plan.learning_rate * min(1.0, (step + 1) / plan.warmup_steps) * (1.0 - 0.95 * done)
            losses.append(_step(model, prior, optimiser, batch, behaviour, metadata, contrast, plan, random))
            step, targets = step + 1, targets + len(batch.row_N)
            if progress is not None and step % 10 == 0:
                progress(done, losses[-1][0])
        if step == before:
            break
    model.to("cpu").eval()
    tail = np.array(losses[-max(1, len(losses) // 10) :] or [(np.nan, np.nan, np.nan)])
    return Outcome(step, targets, time.monotonic() - began, *tail.mean(axis=0).tolist())


def _step(
    model: Decoder,
    prior: BranchPrior,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    behaviour: Behaviour,
    metadata: Metadata,
    contrast: Contrast,
    plan: Plan,
    random: np.random.Generator,
) -> tuple[float, float, float]:
    behaviour_loss, item_loss = batch_loss(model, prior, contrast, batch, random)
    loss = behaviour_loss + plan.item_weight * item_loss
    asked = behaviour.asked_batch(plan.items, random)
    if asked is not None:
        asked_loss, asked_item_loss = batch_loss(model, prior, contrast, asked, random)
        loss = loss + 0.5 * (asked_loss + plan.item_weight * asked_item_loss)
    metadata_loss = torch.zeros(())
    if len(metadata):
        metadata_loss, named_loss = batch_loss(model, prior, contrast, metadata.batch(plan.items, random), random)
        loss = loss + plan.metadata_weight * (metadata_loss + plan.item_weight * named_loss)
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
    optimiser.step()
    return behaviour_loss.item(), metadata_loss.item(), item_loss.item()


def batch_loss(
    model: Decoder, prior: BranchPrior, contrast: Contrast, batch: Batch, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Weighted mean losses of a batch: of codes and words (nats per item, plus nats per text token), and of items."""
    on = model.embedding.weight.device

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(on)

    read = contrast.inputs(model, batch.item_BT)
    states_BTD = model.trunk(tensor(batch.tokens_BTK), items_BTD=None if read is None else read[0])
    loss = item_loss = torch.zeros((), device=on)
    if len(batch.row_N):
        state_ND = states_BTD[tensor(batch.row_N), tensor(batch.column_N)]
        asked_ND = model.ask(state_ND, tensor(batch.ask_NA))
        weight_N = tensor(batch.weight_N.astype(np.float32))
        prior_LNV = [tensor(rows_NV) for rows_NV in prior.path_rows(batch.codes_NL, batch.moment_N)]
        loss_N = model.code_loss(asked_ND, tensor(batch.codes_NL), prior_LNV)
        loss = loss + (loss_N * weight_N).sum() / weight_N.sum()
        at = tensor(batch.row_N), tensor(batch.column_N)
        taste_NO = state_ND.new_zeros(len(state_ND), model.shape.tower.out) if read is None else read[1][at]
        item_loss_N = contrast.loss(model, batch, asked_ND, taste_NO, random)
        item_loss = (item_loss_N * weight_N).sum() / weight_N.sum()
    if len(batch.text_W):
        state_WD = states_BTD[tensor(batch.text_row_W), tensor(batch.text_column_W)]
        loss = loss + model.text_loss(state_WD, tensor(batch.text_W)).mean()
    return loss, item_loss


def _optimiser(model: Decoder, plan: Plan) -> torch.optim.Optimizer:
    """AdamW; only matrices decay, not norms and biases, and not the tables (a code or an item that is not seen must not
    fade)."""
    decayed = [p for name, p in model.named_parameters() if p.dim() > 1 and name not in _TABLES]
    held = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in held]
    groups = [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)


def grown(
    parent: Decoder, vocabulary: Vocabulary, old_codes_IL: np.ndarray, new_codes_IL: np.ndarray, seed: int
) -> Decoder:
    """The parent under a vocabulary whose codebook may differ; rows of the two arrays are the same items.

    The words must be the same. Equal codebooks (equal codes and widths) give an equal model.
    """
    old = parent.shape
    shape = replace(old, tokens=vocabulary.size, semantic_begin=vocabulary.semantic_begin, widths=vocabulary.widths)
    if shape.semantic_begin != old.semantic_begin:
        raise ValueError("the text vocabulary changed: within a lineage it is fixed; start a new lineage")
    same = shape.widths == old.widths and np.array_equal(old_codes_IL, new_codes_IL)
    model = Decoder(shape, seed)
    weights = {name: tensor for name, tensor in parent.state_dict().items() if name in _kept(model, parent)}
    model.load_state_dict(weights, strict=False)
    with torch.no_grad():
        model.embedding.weight[: old.semantic_begin] = parent.embedding.weight[: old.semantic_begin]
        if same:
            model.load_state_dict(parent.state_dict())
        else:
            old_IL, new_IL = (torch.from_numpy(codes_IL.astype(np.int64)) for codes_IL in (old_codes_IL, new_codes_IL))
            for parts, theirs in ((_tables(model), _tables(parent)), (_out_tables(model), _out_tables(parent))):
                _take_apart(parts, _item_vectors(theirs, old_IL), new_IL)
    return model


def _kept(model: Decoder, parent: Decoder) -> set[str]:
    """Tensors of equal shape, but what belongs to codes."""
    theirs = parent.state_dict()
    tail = {"embedding.weight", "code_bias", "tower.codes_out"}
    return {n for n, t in model.state_dict().items() if n not in tail and n in theirs and theirs[n].shape == t.shape}


def _tables(model: Decoder) -> list[Tensor]:
    """Code embeddings by level."""
    return [model.level_table(level)[0] for level in range(len(model.shape.widths))]


def _out_tables(model: Decoder) -> list[Tensor]:
    """What codes add to the vector that is scored, by level."""
    return list(torch.split(model.tower.codes_out, list(model.shape.widths)))


def _item_vectors(tables: list[Tensor], codes_IL: Tensor) -> Tensor:
    return torch.stack([table[codes_IL[:, level]] for level, table in enumerate(tables)]).sum(0)


def _take_apart(tables: list[Tensor], left_ID: Tensor, codes_IL: Tensor) -> None:
    """Sets code embeddings to the means of what is left of the item vectors, level by level. Codes without items keep
    their random start: no item carries them yet."""
    for level, table_VD in enumerate(tables):
        codes_I = codes_IL[:, level]
        count_V = torch.bincount(codes_I, minlength=len(table_VD)).to(left_ID.dtype)
        sums_VD = torch.zeros_like(table_VD).index_add_(0, codes_I, left_ID)
        used_V = count_V > 0
        table_VD[used_V] = sums_VD[used_V] / count_V[used_V, None]
        left_ID = left_ID - table_VD[codes_I]
