"""Several processes that learn one model together, as `torchrun` starts them (data parallel: Li et al. 2020, VLDB).

Process 0 leads: it alone reads the log, judges and publishes. The others wait for what it learns from, and then take
every step with it: all draw the same batch, each takes every n-th of its rows, and gradients are summed. So steps,
batches and learning rates are those of one process; only what is hidden by chance (dropout) differs.

Invariant: between two steps all processes have the same weights, moments and random numbers.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from trainer.model.batches import Batch

_FOR_EVER = timedelta(days=3650)
"""Between two runs the others wait for hours; when the leader ends, its connections do, and so does the waiting."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's number and how many there are. One alone asks nobody."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @contextmanager
    def in_step(self) -> Iterator[None]:
        """Whoever fails in a step, or finds another gone, is out of step with the rest: then all have to be started
        again. Raises SystemExit for it, which closes no run: the next start goes on with it."""
        try:
            yield
        except Exception as error:
            if self.size == 1:
                raise
            raise SystemExit(
                f"process {self.rank} of {self.size} cannot learn on with the others "
                f"({type(error).__name__}: {error}). Start all again (torchrun does, with "
                "--max-restarts), and the run goes on"
            ) from error

    def give(self, job: object | None) -> None:
        """The leader's: hands a job to all others; None sends them home."""
        if self.size == 1:
            return
        told = torch.frombuffer(bytearray(pickle.dumps(job)), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(told)]), 0)
        dist.broadcast(told, 0)

    def take(self) -> Any:
        """The others': the next job, waited for; None where there is no more."""
        size = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(size, 0)
        told = torch.zeros(int(size), dtype=torch.uint8)
        dist.broadcast(told, 0)
        return pickle.load(io.BytesIO(told.numpy().tobytes()))  # of our own leader, over torchrun's own connection

    def part(self, batch: Batch) -> Batch:
        """This process's rows of a batch, every n-th, and what is to be written in these."""
        if self.size == 1:
            return batch
        own_N, own_W = batch.row_N % self.size == self.rank, batch.text_row_W % self.size == self.rank
        return Batch(
            batch.tokens_BTK[self.rank :: self.size],
            batch.item_BT[self.rank :: self.size],
            batch.row_N[own_N] // self.size,
            batch.column_N[own_N],
            batch.ask_NA[own_N],
            batch.occurred_N[own_N],
            batch.item_N[own_N],
            batch.codes_NL[own_N],
            batch.weight_N[own_N],
            batch.moment_N[own_N],
            batch.text_row_W[own_W] // self.size,
            batch.text_column_W[own_W],
            batch.text_W[own_W],
        )

    def agree(self, value: float) -> float:
        """The leader's value, in all processes."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(told, 0)
        return float(told)

    def total(self, codes: float, metadata: float, items: float) -> tuple[float, float, float]:
        """Sums of three losses over all processes."""
        if self.size == 1:
            return codes, metadata, items
        told = torch.tensor([codes, metadata, items], dtype=torch.float64)
        dist.all_reduce(told)
        codes, metadata, items = told.tolist()
        return codes, metadata, items

    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        """Every weight's gradient is then the sum of all processes'; one that had none in any has none."""
        if self.size == 1:
            return
        listed = list(weights)
        own = [torch.zeros(w.numel()) if w.grad is None else w.grad.flatten().cpu() for w in listed]
        flat = torch.cat([*own, torch.tensor([float(w.grad is not None) for w in listed])])
        dist.all_reduce(flat)
        *gradients, had = torch.split(flat, [*(w.numel() for w in listed), len(listed)])
        for weight, gradient, count in zip(listed, gradients, had.tolist(), strict=True):
            weight.grad = gradient.view_as(weight).to(weight.device) if count else None


@cache
def joined() -> Processes:
    """Joins those that `torchrun` has started beside this one; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("gloo", timeout=_FOR_EVER)
    return Processes(dist.get_rank(), dist.get_world_size())
