"""The optimiser: AdamW, and what a checkpoint keeps of it: the moments of every weight, and how many steps made them.

A continued run goes on with them. Moments of few gradients are noise, and so is a step of full length along them: a run
without any (the first one, or one after a checkpoint that kept none) warms up instead.

Invariant: what is loaded is what was saved; a folder without moments has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainer.model.decoder import Decoder

MOMENTS_FILE = "optimiser.safetensors"

Moments = Mapping[str, Tensor]
"""By the parts of AdamW's state and the name of the weight: `exp_avg/NAME`, `exp_avg_sq/NAME`, `step/NAME`."""

_PARTS = ("exp_avg", "exp_avg_sq", "step")
_TABLES = ("embedding.weight", "tower.codes_out", "tower.own")


def optimiser_of(model: Decoder, weight_decay: float) -> torch.optim.AdamW:
    """Only matrices decay, not norms and biases, and not the tables (a code or an item that is not seen must not
    fade)."""
    decayed = [p for name, p in model.named_parameters() if p.dim() > 1 and name not in _TABLES]
    held = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in held]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def moments_of(model: Decoder, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser knows now, on the CPU."""
    return {
        f"{part}/{name}": optimiser.state[weight][part].detach().to("cpu", torch.float32, copy=True)
        for name, weight in model.named_parameters()
        if weight in optimiser.state
        for part in _PARTS
    }


def give_moments(model: Decoder, optimiser: torch.optim.Optimizer, moments: Moments) -> int:
    """Lets the optimiser go on from `moments`, as far as they are of weights of this form. Returns how many steps have
    made those of every weight: 0 if any weight has none."""
    steps = []
    for name, weight in model.named_parameters():
        state = {part: moments.get(f"{part}/{name}") for part in _PARTS}
        mean, step = state["exp_avg"], state["step"]
        if mean is None or step is None or mean.shape != weight.shape:
            steps.append(0)
            continue
        optimiser.state[weight] = {part: kept.to(weight.device, copy=True) for part, kept in _there(state)}
        steps.append(int(step))
    return min(steps)


def _there(state: Mapping[str, Tensor | None]) -> Iterator[tuple[str, Tensor]]:
    return ((part, kept) for part, kept in state.items() if kept is not None)


def without(moments: Moments, names: frozenset[str]) -> dict[str, Tensor]:
    """All but those of the named weights."""
    return {key: kept for key, kept in moments.items() if key.partition("/")[2] not in names}


def save_moments(moments: Moments, folder: Path) -> None:
    save_file(dict(moments), folder / MOMENTS_FILE)


def load_moments(folder: Path) -> dict[str, Tensor]:
    """The moments of a checkpoint folder; none of one that was made before checkpoints kept them."""
    file = folder / MOMENTS_FILE
    return load_file(file) if file.is_file() else {}


def moments_size(folder: Path) -> int:
    """What the moments of a checkpoint folder take, in bytes."""
    return (folder / MOMENTS_FILE).stat().st_size
