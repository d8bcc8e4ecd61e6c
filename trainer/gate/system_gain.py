"""What the system gains by a model: the ranker's order with its score, against the order without.

The ranking examples of the held-out engagements hold the candidates as they were, with all other features. A ranker
that does not see the model, fitted on the examples before them, orders these; a conditional logit (McFadden 1974) then
weighs its score and the model's, fitted on other parts of the same engagements (cross-fitting), so that a model that
says nothing gains nothing. Compared is, engagement by engagement, the log-likelihood of the true item (nats) and the
gain of its rank (NDCG at 10, the sampled candidates standing for all).

Invariant: a pure function of the examples, what models said of them, and the seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from trainer.ranking.columns import without
from trainer.ranking.example import Example, Group
from trainer.ranking.feedback import Feedback
from trainer.ranking.learner import RankerRules, Snapshot
from trainer.ranking.ranker import Boosted, HeuristicRanker, Ranker

COLUMNS = tuple(without(["model"]))
"""What a ranker without the model does not see."""
NONE = "none"
"""The role of having no model."""
FOLDS = 5
FEWEST = 200
"""Examples that a ranker is fitted on; with fewer, plain evidence orders."""
MOST = 4_000
_RIDGE = 1e-2
_STEPS = 25


@dataclass(frozen=True, slots=True)
class Gain:
    """The mean of paired differences, with the ends of its 95 % interval, over `events`."""

    mean: float
    low: float
    high: float
    events: int

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f}, {self.events} engagements)"


def gain_of(difference_N: np.ndarray) -> Gain:
    """The mean difference and its interval; nothing is known from fewer than two."""
    count = len(difference_N)
    if count < 2:
        return Gain(float("nan"), -np.inf, np.inf, count)
    mean, error = float(difference_N.mean()), 1.96 * float(difference_N.std(ddof=1)) / sqrt(count)
    return Gain(mean, mean - error, mean + error, count)


@dataclass(frozen=True, slots=True)
class Order:
    """How well a role's order has the true items: nats and NDCG at 10 of each engagement."""

    nats_N: np.ndarray
    ndcg_N: np.ndarray


def base_ranker(examples: Sequence[Example], rules: RankerRules, seed: int) -> Ranker:
    """A ranker that never saw a model, fitted on the newest of these examples as the system's own is."""
    groups = [group for example in examples[-MOST:] if example.weight > 0 and (group := example.group()) is not None]
    if len(groups) < FEWEST:
        return HeuristicRanker()
    firsts = [rows for example in examples[-MOST:] if (rows := example.first_engagement()) is not None]
    blind = replace(rules, blank=COLUMNS, seed=seed)
    return Snapshot(blind, groups, firsts, Feedback(0, 0, {}), len(groups)).fit()


def orders(groups: Sequence[Group], ranker: Ranker, suits: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Order]:
    """How each role orders the rows of each example, the true item's first. `suits`: what each role's model says of
    the rows; beside the roles comes `NONE`, the ranker alone."""
    base = [_base(ranker, group) for group in groups]
    scale = {role: _scale(said) for role, said in suits.items()}
    found = {NONE: _fitted([score_B[:, None] for score_B in base], groups)}
    for role, said in suits.items():
        both = [
            np.stack([score_B, _plain(said_B) / scale[role]], axis=1)
            for score_B, said_B in zip(base, said, strict=True)
        ]
        found[role] = _fitted(both, groups)
    return found


def _base(ranker: Ranker, group: Group) -> np.ndarray:
    x_BF = group.candidates_BF.astype(np.float32)
    x_BF[:, list(COLUMNS)] = 0.0
    return np.asarray(ranker.raw(x_BF) if isinstance(ranker, Boosted) else ranker.score(x_BF))


def _plain(said_B: np.ndarray) -> np.ndarray:
    return np.asarray(np.nan_to_num(said_B, nan=0.0, posinf=0.0, neginf=0.0))


def _scale(said: Sequence[np.ndarray]) -> float:
    every = _plain(np.concatenate(said)) if len(said) else np.zeros(1)
    return max(float(every.std()), 1e-6)


def _fitted(rows: Sequence[np.ndarray], groups: Sequence[Group]) -> Order:
    """Every example judged by weights that were fitted without its fold."""
    fold_N = np.arange(len(rows)) % FOLDS
    nats_N, ndcg_N = np.zeros(len(rows)), np.zeros(len(rows))
    for fold in range(FOLDS):
        weight_F = _logit([rows[n] for n in np.flatnonzero(fold_N != fold).tolist()])
        for n in np.flatnonzero(fold_N == fold).tolist():
            nats_N[n], ndcg_N[n] = _judged(rows[n] @ weight_F, groups[n].candidates)
    return Order(nats_N, ndcg_N)


def _logit(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Weights of greatest likelihood that the first row of each example is the true one (Newton's method)."""
    width = rows[0].shape[1] if rows else 1
    weight_F: np.ndarray = np.zeros(width)
    weight_F[0] = 1.0
    for _ in range(_STEPS if rows else 0):
        slope_F, bend_FF = -_RIDGE * weight_F, _RIDGE * np.eye(width)
        for x_BF in rows:
            p_B = _softmax(x_BF @ weight_F)
            expected_F = p_B @ x_BF
            slope_F = slope_F + x_BF[0] - expected_F
            centred_BF = x_BF - expected_F
            bend_FF = bend_FF + centred_BF.T @ (p_B[:, None] * centred_BF)
        step_F = np.linalg.solve(bend_FF, slope_F)
        weight_F = weight_F + step_F * min(1.0, 2.0 / max(1e-9, float(np.abs(step_F).max())))
        if float(np.abs(step_F).max()) < 1e-6:
            break
    return np.asarray(weight_F)


def _softmax(score_B: np.ndarray) -> np.ndarray:
    p_B = np.exp(score_B - score_B.max())
    return np.asarray(p_B / p_B.sum())


def _judged(score_B: np.ndarray, candidates: int) -> tuple[float, float]:
    """Nats and NDCG of the first row; every sampled rival stands for as many as it was drawn from."""
    stands_for = max(1.0, (candidates - 1) / max(1, len(score_B) - 1))
    shifted_B = score_B - score_B.max()
    nats = float(shifted_B[0] - np.log(np.exp(shifted_B[0]) + stands_for * np.exp(shifted_B[1:]).sum()))
    rank = stands_for * (float(np.sum(score_B[1:] > score_B[0])) + 0.5 * float(np.sum(score_B[1:] == score_B[0])))
    return nats, 1.0 / np.log2(2.0 + rank) if rank < 10 else 0.0


def rows_of(example: Example, places: Mapping[str, int]) -> tuple[Group, np.ndarray] | None:
    """The rows of an example whose items are known, and their places; None if the true one is not, or stands alone."""
    group = example.group()
    if group is None or len(example.items) < len(group.candidates_BF):
        return None
    known = [row for row, item_id in enumerate(example.items[: len(group.candidates_BF)]) if item_id in places]
    if len(known) < 2 or known[0] != 0:
        return None
    at_B = np.array([places[example.items[row]] for row in known], np.int64)
    return group._replace(candidates_BF=group.candidates_BF[known]), at_B
