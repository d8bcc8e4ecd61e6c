"""Continued pre-training: the parent's weights, the window of the log since it, and some of what came before.

Half behaviour (write the next item of a history, and tell it from others: `trainer.model.contrast`), half metadata
(text ↔ semantic ID). Every step takes one batch of each. A run is bounded in steps and in seconds, and the learning
rate falls over whichever is used up first. It rises over the first steps of a lineage only: a run that has its
parent's moments goes on with them.

Several processes may take the steps together (`trainer.model.learning.processes`): each learns from a part of every
batch.

Invariant: with the same inputs, seed and number of threads, a run that its step bound ends gives the same weights,
also one that was interrupted and went on from a state that it had kept.
"""

from __future__ import annotations

import signal
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
from trainer.model.learning.learning_state import DamagedStateError, LearningState
from trainer.model.learning.losses import Losses, Teacher, batch_loss
from trainer.model.learning.optimiser import Moments, give_moments, moments_of, optimiser_of
from trainer.model.learning.processes import Processes


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
    teacher_weight: float = 1.0
    clip: float = 1.0
    seed: int = 0


_HURRY = 0.05
"""The clock only counts when it is ahead of the work by this part of the run; else runs would not be repeatable."""

Progress = Callable[[float, float], None]
"""Called with (part of the run that is done, current loss of behaviour)."""

Keep = Callable[[LearningState], None]
"""Called with the state now and then, for a run that may be killed."""


_GIVEN_UP = -1.0
"""What the clock says when the leader gives a run up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did. Losses are nats per item (all levels), averaged over the last tenth of the steps."""

    steps: int
    targets: int
    seconds: float
    behaviour_loss: float
    metadata_loss: float
    item_loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What the other processes need to take a run's steps with the leader."""

    model: Decoder
    prior: BranchPrior
    behaviour: Behaviour
    metadata: Metadata
    contrast: Contrast
    plan: Plan
    teacher: Teacher | None
    warm: int
    state: LearningState


class Pretraining:
    """A run's steps over one corpus. `moments`: what the optimiser knew at the end of the parent's run; `teacher`: whom
    a new lineage learns from, the less the further the run is; `processes`: who takes the steps together."""

    def __init__(
        self,
        model: Decoder,
        prior: BranchPrior,
        behaviour: Behaviour,
        metadata: Metadata,
        contrast: Contrast,
        plan: Plan,
        moments: Moments | None = None,
        teacher: Teacher | None = None,
        processes: Processes = Processes(),
    ) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model.to(device)
        self._teacher = None if teacher is None else replace(teacher, model=teacher.model.to(device).eval())
        self._model, self._prior, self._plan, self._processes = model, prior, plan, processes
        self._behaviour, self._metadata, self._contrast = behaviour, metadata, contrast
        self._random = np.random.default_rng(plan.seed)
        torch.manual_seed(plan.seed)
        self._optimiser = optimiser_of(model, plan.weight_decay)
        self.warm = give_moments(model, self._optimiser, moments or {})
        self._wanted = max(1.0, plan.epochs * behaviour.targets)
        self._step = self._targets = 0
        self._spent_s = 0.0
        self._left: list[np.ndarray] = []
        self._losses: list[tuple[float, float, float]] = []

    def run(self, progress: Progress | None = None, keep: Keep | None = None, keep_every_s: float = 60.0) -> Outcome:
        """Trains the model in place, on a GPU if there is one, and leaves it on the CPU in evaluation mode. `keep` is
        given the state every so many seconds. Raises SystemExit when another process is lost: all have to be started
        again, and go on."""
        if self._processes.size > 1 and self._processes.leads:
            self._processes.give(self.job())
        began, kept_at = time.monotonic() - self._spent_s, time.monotonic()
        self._model.train()
        while (done := self._done(self._spent_s)) < 1.0:
            if not self._left and not self._begin_pass():
                break
            self._set_rate(done)
            batch = self._behaviour.batch(self._left.pop(), self._random)
            with self._processes.in_step():
                self._losses.append(self._learn(batch, done))
            self._step, self._targets = self._step + 1, self._targets + len(batch.row_N)
            self._spent_s = time.monotonic() - began
            try:
                if progress is not None and self._step % 10 == 0:
                    progress(done, self._losses[-1][0])
                if keep is not None and time.monotonic() - kept_at >= keep_every_s:
                    keep(self.state())
                    kept_at = time.monotonic()
            except BaseException:
                self._processes.agree(_GIVEN_UP)
                raise
            with self._processes.in_step():
                self._spent_s = self._processes.agree(self._spent_s)
            if self._spent_s < 0.0:
                break
        self._model.to("cpu").eval()
        tail = np.array(self._losses[-max(1, len(self._losses) // 10) :] or [(np.nan, np.nan, np.nan)])
        return Outcome(self._step, self._targets, self._spent_s, *tail.mean(axis=0).tolist())

    def job(self) -> Job:
        """What another process needs to take the steps that are left."""
        told = (self._prior, self._behaviour, self._metadata, self._contrast, self._plan, self._teacher)
        return Job(self._model, *told, self.warm, self.state())

    def moments(self) -> dict[str, Tensor]:
        """What the optimiser knows now: for the run after this one."""
        return moments_of(self._model, self._optimiser)

    def state(self) -> LearningState:
        """All by which another process can go on from here."""
        return LearningState(
            steps=self._step,
            targets=self._targets,
            seconds=self._spent_s,
            weights={name: tensor.to("cpu", copy=True) for name, tensor in self._model.state_dict().items()},
            moments=self.moments(),
            losses_S3=np.array(self._losses).reshape(-1, 3),
            corpus=self._behaviour.identity(),
            left=list(self._left),
            left_names=self._metadata.left,
            random=self._random.bit_generator.state,
            torch_random=torch.get_rng_state(),
        )

    def go_on_from(self, state: LearningState) -> None:
        """Takes a state over. If what is learned from has changed since (a user was forgotten, an item came), the pass
        begins anew. Raises `DamagedStateError` when it is of another model."""
        try:
            self._model.load_state_dict(dict(state.weights))
        except RuntimeError as error:
            raise DamagedStateError(f"it is of another model ({error})") from None
        give_moments(self._model, self._optimiser, state.moments)
        self._step, self._targets, self._spent_s = state.steps, state.targets, state.seconds
        self._losses = [(a, b, c) for a, b, c in state.losses_S3.tolist()]
        self._random.bit_generator.state = dict(state.random)
        torch.set_rng_state(state.torch_random)
        if state.corpus == self._behaviour.identity():
            self._left, self._metadata.left = list(state.left), state.left_names

    def _begin_pass(self) -> bool:
        """Deals out all rows anew; False when there are none."""
        self._left = self._behaviour.groups(self._plan.positions, self._random)[::-1]
        return bool(self._left)

    def _done(self, elapsed_s: float) -> float:
        worked = max(self._step / self._plan.max_steps, self._targets / self._wanted)
        elapsed = elapsed_s / self._plan.max_seconds
        return elapsed if elapsed > worked + _HURRY else worked

    def _set_rate(self, done: float) -> None:
        warmth = min(1.0, (self.warm + self._step + 1) / self._plan.warmup_steps)
        for group in self._optimiser.param_groups:
            group["lr"] = self._plan.learning_rate * warmth * (1.0 - 0.95 * done)

    def _learn(self, batch: Batch, done: float) -> tuple[float, float, float]:
        """One step; its losses of behaviour, metadata and items. Gradients are those of the whole batch, whoever learns
        from a part of it."""
        plan = self._plan
        behaviour = self._losses_of(batch, self._teacher)
        loss = behaviour.codes + plan.item_weight * behaviour.items
        loss = loss + plan.teacher_weight * (1.0 - done) * behaviour.taught
        asked_batch = self._behaviour.asked_batch(plan.items, self._random)
        if asked_batch is not None:
            asked = self._losses_of(asked_batch)
            loss = loss + 0.5 * (asked.codes + plan.item_weight * asked.items)
        metadata_loss = torch.zeros(())
        if len(self._metadata):
            named = self._losses_of(self._metadata.batch(plan.items, self._random))
            loss = loss + plan.metadata_weight * (named.codes + plan.item_weight * named.items)
            metadata_loss = named.codes
        self._optimiser.zero_grad(set_to_none=True)
        if loss.requires_grad:  # a process may have no row of a batch
            torch.autograd.backward(loss)
        self._processes.sum_gradients(self._model.parameters())
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), plan.clip)
        self._optimiser.step()
        codes, metadata, items = behaviour.codes.item(), metadata_loss.item(), behaviour.items.item()
        return self._processes.total(codes, metadata, items)

    def _losses_of(self, batch: Batch, teacher: Teacher | None = None) -> Losses:
        part = self._processes.part(batch)
        return batch_loss(self._model, self._prior, self._contrast, part, self._random, teacher, batch)


def follow(processes: Processes) -> None:
    """Takes the leader's steps with it, run after run, until it ends. A stop signal is the leader's affair."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while (job := processes.take()) is not None:
        told = (job.prior, job.behaviour, job.metadata, job.contrast, job.plan)
        run = Pretraining(job.model, *told, job.state.moments, job.teacher, processes)
        run.go_on_from(job.state)
        run.warm = job.warm
        run.run()
