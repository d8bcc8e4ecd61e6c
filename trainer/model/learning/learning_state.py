"""The state of learning: all by which a run goes on as if it had never been interrupted.

Beside weights and moments these are the places in the three sequences that a run draws from: its random numbers, the
batches that are left of a pass, the items whose words are left of a round.

Invariant: what is decoded is what was encoded, or `DamagedStateError` is raised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_DIGEST = sha256().digest_size


class DamagedStateError(ValueError):
    """The bytes are no state, or not the one that was saved: take the state before it, or begin the run anew."""


@dataclass(frozen=True, slots=True, eq=False)
class LearningState:
    """After `steps` steps on `targets` items, which took `seconds`. `losses_S3`: those of every step. `corpus` names
    what was learned from; `left` are the batches of this pass that it has not seen (numbers of rows, the next one
    last), `left_names` the items of a round of metadata. `random`: the state of numpy's generator."""

    steps: int
    targets: int
    seconds: float
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    losses_S3: np.ndarray
    corpus: str
    left: list[np.ndarray]
    left_names: np.ndarray
    random: Mapping[str, Any]
    torch_random: Tensor

    def encode(self) -> bytes:
        """With a checksum in front."""
        lengths = [len(rows) for rows in self.left]
        arrays = {
            "losses": self.losses_S3,
            "left": np.concatenate([np.zeros(0, np.int64), *self.left]),
            "lengths": np.array(lengths, np.int64),
            "left_names": self.left_names,
        }
        tensors = {f"weights/{name}": tensor.contiguous() for name, tensor in self.weights.items()}
        tensors |= {f"moments/{name}": tensor.contiguous() for name, tensor in self.moments.items()}
        tensors |= {name: torch.from_numpy(array) for name, array in arrays.items()}
        told = {"steps": self.steps, "targets": self.targets, "seconds": self.seconds, "corpus": self.corpus}
        about = {"state": json.dumps({**told, "random": self.random})}
        content: bytes = save({**tensors, "torch_random": self.torch_random}, about)
        return sha256(content).digest() + content

    @staticmethod
    def decode(data: bytes) -> LearningState:
        if sha256(content := data[_DIGEST:]).digest() != data[:_DIGEST]:
            raise DamagedStateError("its checksum differs")
        try:
            tensors, told = load(content), _about(content)
            ends = np.cumsum(tensors["lengths"].numpy())
            return LearningState(
                steps=told["steps"],
                targets=told["targets"],
                seconds=told["seconds"],
                weights=_below("weights/", tensors),
                moments=_below("moments/", tensors),
                losses_S3=tensors["losses"].numpy(),
                corpus=told["corpus"],
                left=np.split(tensors["left"].numpy(), ends)[:-1],
                left_names=tensors["left_names"].numpy(),
                random=told["random"],
                torch_random=tensors["torch_random"],
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise DamagedStateError(f"it is no state of learning ({error})") from None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _about(content: bytes) -> dict[str, Any]:
    """What the header says beside the tensors (safetensors: its length in eight bytes, then JSON)."""
    length = int.from_bytes(content[:8], "little")
    told: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["state"])
    return told
