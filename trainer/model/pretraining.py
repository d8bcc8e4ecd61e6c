"""Continued pre-training: the parent's weights, the window of the log since it, and some of what came before.

Half behaviour (write the next item of a history), half metadata (text ↔ semantic ID). Every step takes one batch of
each. A run is bounded in steps and in seconds, and the learning rate falls over whichever is used up first.

When the codebook changed, the semantic-ID tokens are carried over, not drawn anew: an item's old vector (the sum of its
old code embeddings) is taken apart under its new codes, level by level as means of what is left over. So items that the
parent knew keep about the vectors they had, and items that share a new code start from what those have in common.

Invariant: with the same inputs, seed and number of threads, a run that its step bound ends gives the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.model.batches import Batch, Behaviour, Metadata
from trainer.model.branch_prior import BranchPrior
from trainer.model.decoder import Decoder, Shape
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
    clip: float = 1.0
    seed: int = 0


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


def pretrain(
    model: Decoder,
    prior: BranchPrior,
    behaviour: Behaviour,
    metadata: Metadata,
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
    losses: list[tuple[float, float]] = []
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
            losses.append(_step(model, prior, optimiser, batch, behaviour, metadata, plan, random))
            step, targets = step + 1, targets + len(batch.row_N)
            if progress is not None and step % 10 == 0:
                progress(done, losses[-1][0])
        if step == before:
            break
    model.to("cpu").eval()
    tail = np.array(losses[-max(1, len(losses) // 10) :] or [(np.nan, np.nan)])
    return Outcome(step, targets, time.monotonic() - began, float(tail[:, 0].mean()), float(tail[:, 1].mean()))


def _step(
    model: Decoder,
    prior: BranchPrior,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    behaviour: Behaviour,
    metadata: Metadata,
    plan: Plan,
    random: np.random.Generator,
) -> tuple[float, float]:
    behaviour_loss = batch_loss(model, prior, batch)
    loss = behaviour_loss
    asked = behaviour.asked_batch(plan.items, random)
    if asked is not None:
        loss = loss + 0.5 * batch_loss(model, prior, asked)
    metadata_loss = torch.zeros(())
    if len(metadata):
        metadata_loss = batch_loss(model, prior, metadata.batch(plan.items, random))
        loss = loss + plan.metadata_weight * metadata_loss
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
    optimiser.step()
    return behaviour_loss.item(), metadata_loss.item()


def batch_loss(model: Decoder, prior: BranchPrior, batch: Batch) -> Tensor:
    """Weighted mean loss of a batch: nats per item, plus nats per text token."""
    on = model.embedding.weight.device

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(on)

    states_BTD = model.trunk(tensor(batch.tokens_BTK))
    loss = torch.zeros((), device=on)
    if len(batch.row_N):
        state_ND = states_BTD[tensor(batch.row_N), tensor(batch.column_N)]
        asked_ND = model.ask(state_ND, tensor(batch.ask_NA))
        weight_N = tensor(batch.weight_N.astype(np.float32))
        prior_LNV = [tensor(rows_NV) for rows_NV in prior.path_rows(batch.codes_NL, batch.moment_N)]
        loss_N = model.code_loss(asked_ND, tensor(batch.codes_NL), prior_LNV)
        loss = loss + (loss_N * weight_N).sum() / weight_N.sum()
    if len(batch.text_W):
        state_WD = states_BTD[tensor(batch.text_row_W), tensor(batch.text_column_W)]
        loss = loss + model.text_loss(state_WD, tensor(batch.text_W)).mean()
    return loss


def _optimiser(model: Decoder, plan: Plan) -> torch.optim.Optimizer:
    """AdamW; only matrices decay, not norms and biases, and not the table (a code that is not seen must not fade)."""
    decayed = [p for name, p in model.named_parameters() if p.dim() > 1 and not name.startswith("embedding")]
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
    shape = Shape.of(vocabulary, layers=old.layers, width=old.width, heads=old.heads, dropout=old.dropout)
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
            vectors_ID = _item_vectors(parent, torch.from_numpy(old_codes_IL.astype(np.int64)))
            _take_apart(model, vectors_ID, torch.from_numpy(new_codes_IL.astype(np.int64)))
    return model


def _kept(model: Decoder, parent: Decoder) -> set[str]:
    """Tensors of equal shape, but the table and the output biases."""
    theirs = parent.state_dict()
    tail = {"embedding.weight", "code_bias"}
    return {n for n, t in model.state_dict().items() if n not in tail and n in theirs and theirs[n].shape == t.shape}


def _item_vectors(model: Decoder, codes_IL: Tensor) -> Tensor:
    tables = [model.level_table(level)[0] for level in range(codes_IL.shape[1])]
    return torch.stack([table[codes_IL[:, level]] for level, table in enumerate(tables)]).sum(0)


def _take_apart(model: Decoder, left_ID: Tensor, codes_IL: Tensor) -> None:
    """Sets code embeddings to the means of what is left of the item vectors, level by level. Codes without items keep
    their random start: no item carries them yet."""
    for level in range(codes_IL.shape[1]):
        table_VD = model.level_table(level)[0]
        codes_I = codes_IL[:, level]
        count_V = torch.bincount(codes_I, minlength=len(table_VD)).to(left_ID.dtype)
        sums_VD = torch.zeros_like(table_VD).index_add_(0, codes_I, left_ID)
        used_V = count_V > 0
        table_VD[used_V] = sums_VD[used_V] / count_V[used_V, None]
        left_ID = left_ID - table_VD[codes_I]
