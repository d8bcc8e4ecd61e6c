"""Checkpoints that are bad on purpose: copies of a good one, changed after its gate and sealed anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from store.checkpoints import read_manifest, seal
from store.events import KINDS

Weights = dict[str, Any]
"""Tensors by name."""
IDLE_LAYERS = 400
"""About a millisecond each on one free core, whatever is asked."""


def shuffled(location: Path) -> Path:
    """Every tensor has the numbers that it had, in another order."""
    return _changed(location, "shuffled", _shuffle)


def failing(location: Path) -> Path:
    """No finite answer for anybody with a history; those by which a model is tried have none."""
    return _changed(location, "failing", _break)


def slowed(location: Path) -> Path:
    """The same answers, after some hundred layers more that add nothing."""
    return _changed(location, "slowed", _deepen)


def _changed(location: Path, name: str, change: Callable[[Weights, Path], None]) -> Path:
    from safetensors.torch import load_file, save_file

    copy = location.with_name(f"{location.name}-{name}")
    shutil.copytree(location, copy)
    weights = load_file(copy / "model.safetensors")
    change(weights, copy)
    save_file(weights, copy / "model.safetensors")
    seal(copy, read_manifest(copy))
    return copy


def _shuffle(weights: Weights, _: Path) -> None:
    import torch

    order = torch.Generator().manual_seed(0)
    for name, tensor in weights.items():
        flat = tensor.flatten()
        weights[name] = flat[torch.randperm(len(flat), generator=order)].reshape(tensor.shape).contiguous()


def _deepen(weights: Weights, folder: Path) -> None:
    """Each new layer is a copy of the first whose outputs are zero: what came in goes on as it was."""
    from trainer.model.decoder import SHAPE_FILE

    shape = msgspec.json.decode((folder / SHAPE_FILE).read_bytes())
    first = {name: tensor for name, tensor in weights.items() if name.startswith("blocks.0.")}
    for layer in range(shape["layers"], shape["layers"] + IDLE_LAYERS):
        for name, tensor in first.items():
            silent = name.endswith(("attention.out.weight", "feed.down.weight"))
            part = name.removeprefix("blocks.0.")
            weights[f"blocks.{layer}.{part}"] = tensor.new_zeros(tensor.shape) if silent else tensor.clone()
    shape["layers"] += IDLE_LAYERS
    (folder / SHAPE_FILE).write_bytes(msgspec.json.encode(shape))


def _break(weights: Weights, folder: Path) -> None:
    from trainer.model.vocabulary import Vocabulary

    begin = Vocabulary.load(folder).kind_begin
    weights["embedding.weight"][begin : begin + len(KINDS)] = float("nan")
