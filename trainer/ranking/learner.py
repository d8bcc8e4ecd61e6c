"""The learner of the ranker: keeps the newest examples, and fits rankers to them.

Boosted trees learn the order at its top (LambdaMART, Burges 2010, by LightGBM, Ke et al. 2017). A fit is due whenever
the examples have grown by a share, from the first few on.

Invariant: a fit is a function of the sequence of examples, the rules and the seed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import lightgbm
import numpy as np

from trainer.ranking.cold_start import fit as fit_cold_start
from trainer.ranking.example import Example, Group
from trainer.ranking.feedback import Feedback, HeldOut
from trainer.ranking.impressions import Impression
from trainer.ranking.ranker import Boosted, Ranker


@dataclass(frozen=True, kw_only=True, slots=True)
class RankerRules:
    """`kept` newest examples are kept, and as many acts, and `firsts` first engagements; a refit is due when `first`
    came, then at each `growth` more (of impressions, too). The newest `held_out` of the examples calibrate.
    `completed`: kind → least value that counts as completed. Trees learn the order down to the place `truncation`."""

    kept: int = 30_000
    firsts: int = 5_000
    impressions: int = 5_000
    completed: Mapping[str, float] = field(default_factory=dict)
    held_out: float = 0.05
    first: int = 200
    growth: float = 0.25
    refit_every: int = 5_000
    trees: int = 300
    leaves: int = 31
    learning_rate: float = 0.04
    truncation: int = 10
    min_rows: int = 40
    threads: int = 1
    blank: tuple[int, ...] = ()
    seed: int = 0


class RankerLearner:
    """Keeps examples and fits rankers."""

    def __init__(self, rules: RankerRules = RankerRules()) -> None:
        self.rules = rules
        self.examples: deque[Group] = deque(maxlen=rules.kept)
        self.firsts: deque[np.ndarray] = deque(maxlen=rules.firsts)
        self.feedback = Feedback(rules.kept, rules.impressions, rules.completed)
        self.absorbed = 0
        self.fitted_at = 0
        self._closed_at = 0

    def absorb(self, example: Example) -> None:
        """Takes an example in, if something can be learned from it."""
        first_RF = example.first_engagement()
        if first_RF is not None and example.weight > 0:
            self.firsts.append(first_RF)
        group = example.group()
        if group is not None:
            self.feedback.engaged(example, group.candidates_BF[0])
            if example.weight > 0:
                self.examples.append(group)
                self.absorbed += 1

    def absorb_impression(self, impression: Impression) -> None:
        """Takes an impression in whose window has closed, or its correction."""
        self.feedback.shown(impression)

    def due(self) -> bool:
        """Whether enough came since the last fit."""
        if self.fitted_at == 0:
            return self.absorbed >= self.rules.first
        grown = min(self.fitted_at * self.rules.growth, float(self.rules.refit_every))
        shown = min(self._closed_at * self.rules.growth, float(self.rules.refit_every)) + self.rules.first
        return self.absorbed >= self.fitted_at + grown or self.feedback.closed >= self._closed_at + shown

    def refit(self) -> Ranker:
        """A ranker fitted to the kept examples."""
        return self.snapshot().fit()

    def snapshot(self) -> Snapshot:
        """What a fit at this moment learns from; as far as `due` is concerned, it has been made."""
        self.fitted_at, self._closed_at = self.absorbed, self.feedback.closed
        return Snapshot(self.rules, list(self.examples), list(self.firsts), self.feedback.copied(), self.absorbed)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a learner knew at one moment: `absorbed` examples, of which it had kept these."""

    rules: RankerRules
    examples: list[Group]
    firsts: list[np.ndarray]
    feedback: Feedback
    absorbed: int

    def fit(self) -> Ranker:
        """A ranker fitted to the examples; the newest of them calibrate its heads, if people said anything."""
        examples, rules = self.examples, self.rules
        held = max(1, int(len(examples) * rules.held_out)) if self.feedback.acts and len(examples) > 1 else 0
        groups = [group.candidates_BF for group in examples[: len(examples) - held]]
        cold_start = fit_cold_start([self._blanked(x_RF) for x_RF in self.firsts])
        x_RF, label_R, sizes_G = _table([*groups, *self.firsts])
        x_RF = cold_start.beside(self._blanked(x_RF))
        data = lightgbm.Dataset(x_RF, label_R, group=sizes_G, params={"verbose": -1, "max_bin": 127})
        booster = lightgbm.train(self._parameters(len(groups)), data, num_boost_round=self._trees(len(groups)))
        ranker = Boosted(booster.model_to_string(), str(self.absorbed), cold_start)
        if held:
            ranker.heads = self.feedback.fit(ranker.raw, _held_out(examples[-held:]), rules.seed, rules.threads)
        return ranker

    def _blanked(self, x_BF: np.ndarray) -> np.ndarray:
        x_BF = x_BF.astype(np.float32)
        x_BF[:, list(self.rules.blank)] = 0.0
        return x_BF

    def _trees(self, groups: int) -> int:
        return int(min(self.rules.trees, 30 + groups / 20))

    def _parameters(self, groups: int) -> dict[str, object]:
        rules = self.rules
        return {
            "objective": "lambdarank",
            "lambdarank_truncation_level": rules.truncation,
            "learning_rate": rules.learning_rate,
            "num_leaves": rules.leaves if groups > 8000 else 15,
            "min_data_in_leaf": rules.min_rows,
            "feature_fraction": 0.6,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "max_bin": 127,
            "num_threads": rules.threads,
            "seed": rules.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }


def _table(groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """All rows, which are true, and how many rows belong together."""
    sizes_G = [len(x_BF) for x_BF in groups]
    label_R = np.zeros(sum(sizes_G), np.int8)
    label_R[np.cumsum([0, *sizes_G[:-1]])] = 1
    return np.concatenate(groups), label_R, sizes_G


def _held_out(examples: list[Group]) -> HeldOut:
    """Rows of candidates: each sampled one stands for all that were as likely to be drawn."""
    sizes = [len(group.candidates_BF) for group in examples]
    firsts = np.cumsum([0, *sizes[:-1]])
    stands_for = [(group.candidates - 1) / (size - 1) for group, size in zip(examples, sizes, strict=True)]
    weight_R = np.repeat(stands_for, sizes)
    label_R = np.zeros(sum(sizes))
    label_R[firsts], weight_R[firsts] = 1.0, 1.0
    return HeldOut(np.concatenate([group.candidates_BF for group in examples]).astype(np.float32), label_R, weight_R)
