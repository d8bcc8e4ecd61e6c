"""The ranker: one multi-task model that orders the candidates of all sources, and learns online.

An `Example` is an engagement scored before it was learned from: the features as they were, of the true item and of
others that stood beside it. The learner keeps the newest examples and refits boosted trees (LightGBM, Ke et al. 2017)
for the order at its top (LambdaMART, Burges 2010) whenever they have grown by a share, from the first few on; before
that a fixed prior orders. Items that nobody had touched are judged by their content (`trainer.ranking.cold_start`),
learned from first engagements. What people said to what they were shown becomes the heads (`trainer.ranking.heads`),
which weigh the best of that order by their utility.

Invariant: a fit is a function of the sequence of examples, the rules and the seed; a ranker never changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import lightgbm
import msgspec
import numpy as np

from store.settings import Utility
from trainer.ranking.calibration import sigmoid
from trainer.ranking.cold_start import ColdStartModel
from trainer.ranking.cold_start import fit as fit_cold_start
from trainer.ranking.features import COLUMNS, FAINT, NAMES
from trainer.ranking.feedback import Feedback, HeldOut
from trainer.ranking.heads import CLICK, HEADS, Heads, worth
from trainer.ranking.impressions import Impression

RESCORED = 100
"""So many of the best are weighed by their heads: as many as one answer can have."""


class Example(msgspec.Struct, kw_only=True, frozen=True, tag="engaged"):
    """An engagement scored before it was learned from: a record on `ranking-examples`. A `weight` below 0 is negative.

    `rank` is the true item's place (from 0) in the order that would have been served, or -1 when it was not among the
    candidates. `features` holds float16 rows of `columns` columns: the true item's; if `found`, other candidates'; and
    if it was cold, `cold_negatives` of live items without any engagement. `positives` and `age_s` are the item's then.
    """

    user_id: str
    item_id: str
    task: str
    kind: str
    occurred_at: float
    weight: float
    rank: int
    candidates: int
    source: str
    positives: int
    age_s: float
    history: int
    columns: int
    cold_negatives: int = msgspec.field(name="strangers")
    features: bytes
    value: float | None = None
    ordered: bool = True

    @property
    def found(self) -> bool:
        """Whether the true item was among the candidates."""
        return self.rank >= 0

    def rows(self) -> np.ndarray:
        """The rows (float16); none if they have the columns of another version."""
        if self.columns != len(NAMES):
            return np.zeros((0, len(NAMES)), np.float16)
        return np.frombuffer(self.features, "<f2").reshape(-1, self.columns)

    def group(self) -> Group | None:
        """The true item's row and other candidates': None without either."""
        x_BF = self.rows()
        ours = len(x_BF) - self.cold_negatives
        return Group(x_BF[:ours], self.candidates) if self.found and ours > 1 else None

    def first_engagement(self) -> np.ndarray | None:
        """The cold true item's row and its negatives': None if it had engagements, or if there are no negatives."""
        x_BF = self.rows()
        cold = self.cold_negatives
        return x_BF[[0, *range(len(x_BF) - cold, len(x_BF))]] if cold and len(x_BF) else None


class Group(NamedTuple):
    """Rows (float16) of one example, the true item's first, and how many candidates these are drawn from."""

    candidates_BF: np.ndarray
    candidates: int


class Ranker(Protocol):
    """Scores rows of features: the higher, the sooner shown."""

    name: str
    heads: Heads | None

    def score(self, x_BF: np.ndarray, utility: Utility = Utility()) -> np.ndarray:
        """What each row is worth."""

    def probabilities(self, x_BF: np.ndarray) -> np.ndarray:
        """P(click), P(completion | click) and P(negative) of each row, if it were shown (B × 3)."""

    def to_bytes(self) -> bytes:
        """What `ranker_from` reads."""


class HeuristicRanker:
    """Orders by plain evidence before anything is learned: transitions first, then nearness, then popularity."""

    name = "prior"
    heads: Heads | None = None

    def score(self, x_BF: np.ndarray, utility: Utility = Utility()) -> np.ndarray:  # noqa: ARG002 (no heads to weigh)
        def column(name: str) -> np.ndarray:
            return np.asarray(np.nan_to_num(x_BF[:, COLUMNS[name]]))

        evidence = (
            np.exp2(column("follows")) + 0.5 * np.exp2(column("two_hops")) + 1e-3 * (1 + column("spectral_taste"))
        )
        evidence = evidence + 10.0 * (np.exp2(column("repeats")) - FAINT)
        content = column("content_spectral") + column("content_taste")
        return np.asarray(
            np.log2(1e-4 + evidence) + 0.15 * column("heat_2") + 0.15 * column("heat_4") + content + 8 * column("query")
        )

    def probabilities(self, x_BF: np.ndarray) -> np.ndarray:
        """A guess that has the right order: clicks fall from one in ten."""
        p_BH = np.zeros((len(x_BF), len(HEADS)))
        score_B = self.score(x_BF)
        p_BH[:, CLICK] = 0.1 * np.exp2(0.2 * (score_B - score_B.max(initial=-np.inf)))
        return p_BH

    def to_bytes(self) -> bytes:
        return b"prior"


class Boosted:
    """A fitted ranker. `name` tells how many examples it rests on."""

    def __init__(self, model: str, name: str, cold_start: ColdStartModel, heads: Heads | None = None) -> None:
        self.name = name
        self.cold_start = cold_start
        self.heads = heads
        self._model = model
        self._booster = lightgbm.Booster(model_str=model)

    def raw(self, x_BF: np.ndarray) -> np.ndarray:
        """The large model's score: it orders the candidates of one request, and says little across requests."""
        if not len(x_BF):
            return np.zeros(0)
        return np.asarray(self._booster.predict(self.cold_start.beside(x_BF), raw_score=True, num_threads=1))

    def score(self, x_BF: np.ndarray, utility: Utility = Utility()) -> np.ndarray:
        """The best `RESCORED` by the large model have the utility of their heads; the others follow in its order."""
        raw_B = self.raw(x_BF)
        if self.heads is None:
            return sigmoid(raw_B)
        if self.heads.keep_order(utility):
            return self.heads.click(x_BF, raw_B)
        best = np.argsort(-raw_B, kind="stable")[:RESCORED]
        worth_T = worth(self.heads.probabilities(x_BF[best], raw_B[best]), utility)
        score_B: np.ndarray = worth_T.min(initial=0.0) - 1.0 + sigmoid(raw_B)
        score_B[best] = worth_T
        return score_B

    def probabilities(self, x_BF: np.ndarray) -> np.ndarray:
        raw_B = self.raw(x_BF)
        if self.heads is None:
            return np.stack([sigmoid(raw_B), np.zeros(len(x_BF)), np.zeros(len(x_BF))], axis=1)
        return self.heads.probabilities(x_BF, raw_B)

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(_File(self.name, len(NAMES), self._model, self.cold_start, self.heads))


class _File(msgspec.Struct):
    """A fitted ranker as bytes."""

    name: str
    columns: int
    model: str
    cold_start: ColdStartModel = msgspec.field(name="first_sight")
    heads: Heads | None


def ranker_from(data: bytes) -> Ranker:
    """The ranker that `to_bytes` gave. Raises `ValueError` for one of another version, with other columns."""
    if data == b"prior":
        return HeuristicRanker()
    try:
        file = msgspec.json.decode(data, type=_File)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no ranker of this version, the trainer will fit another: {error}") from None
    if file.columns != len(NAMES):
        raise ValueError(f"it knows {file.columns} columns, not {len(NAMES)}: the trainer will fit another")
    return Boosted(file.model, file.name, file.cold_start, file.heads)


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
