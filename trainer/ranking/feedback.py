"""Feedback: what people said to what was before them, kept for the ranker's heads.

Two kinds of it: acts, each one row of features with what it said (a positive engagement or a negative one, completed or
not); and impressions, whose lines nobody may have touched. Both are kept by the newest; an impression that comes once
more under its key, corrected, takes the place of the former.

Invariant: a fit is a function of what was absorbed, in order of time.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainer.ranking.calibration import Platt
from trainer.ranking.columns import NAMES
from trainer.ranking.heads import Head, Heads, Measured, Raw, calibrated, fit
from trainer.ranking.impressions import COMPLETED, POSITIVE, Impression

LEAST_SHOWN = 30
"""So many clicks on shown lines are needed before the click head speaks of what is shown."""


class Engaged(Protocol):
    """An engagement (`trainer.ranking.example.Example`)."""

    @property
    def kind(self) -> str: ...

    @property
    def occurred_at(self) -> float: ...

    @property
    def weight(self) -> float: ...

    @property
    def value(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Act:
    """One engagement: features (float16), whether it was negative, whether it completed (-1: it cannot tell)."""

    x_F: np.ndarray
    at: float
    negative: bool
    completed: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Engagements that the ranker's large model has not learned from: rows of true and sampled candidates, with how
    many candidates each row stands for."""

    x_RF: np.ndarray
    label_R: np.ndarray
    weight_R: np.ndarray


class Feedback:
    """The newest `acts` and `impressions` (requests). `completed`: kind → least value that counts as completed."""

    def __init__(self, acts: int, impressions: int, completed: Mapping[str, float]) -> None:
        self.acts: deque[Act] = deque(maxlen=acts)
        self.impressions: OrderedDict[str, Impression] = OrderedDict()
        self.closed = 0
        self._most = impressions
        self._completed = completed

    def engaged(self, example: Engaged, x_F: np.ndarray) -> None:
        """Takes in an engagement with the features of its item."""
        least = self._completed.get(example.kind)
        completed = -1 if least is None or example.value is None else int(example.value >= least)
        self.acts.append(Act(x_F, example.occurred_at, example.weight < 0, completed))

    def shown(self, impression: Impression) -> None:
        """Takes in an impression, or its correction."""
        name = impression.request_id
        if impression.x_KF.shape[1] != len(NAMES):
            return
        if name not in self.impressions:
            self.closed += 1
        self.impressions[name] = impression
        while len(self.impressions) > self._most:
            self.impressions.popitem(last=False)

    def copied(self) -> Feedback:
        """The same, as it is now."""
        copied = Feedback(self.acts.maxlen or 0, self._most, self._completed)
        copied.acts.extend(self.acts)
        copied.impressions.update(self.impressions)
        copied.closed = self.closed
        return copied

    def fit(self, raw: Raw, held_out: HeldOut | None, seed: int, threads: int) -> Heads | None:
        """The heads of a ranker; None when not even the click head can be calibrated."""
        shown = self._fit_click(raw, seed, threads)
        click = shown or (_calibrate_click(raw, held_out) if held_out is not None else None)
        if click is None:
            return None
        acts = list(self.acts)
        tell = [act for act in acts if act.completed >= 0 and not act.negative]
        tell = sorted([*tell, *self._completions()], key=lambda act: act.at)
        return Heads(
            click=click,
            completion=_fit_acts(tell, [act.completed for act in tell], seed, threads),
            negative=_fit_acts(acts, [act.negative for act in acts], seed, threads),
            shown=shown is not None,
        )

    def _completions(self) -> Iterator[Act]:
        """Of shown lines: who has clicked has the item, so the watch that follows is no example of its own."""
        for one in list(self.impressions.values()):
            for place in np.flatnonzero((one.told_K4[:, COMPLETED] >= 0) & (one.told_K4[:, POSITIVE] > 0)).tolist():
                yield Act(one.x_KF[place], one.shown_at, False, int(one.told_K4[place, COMPLETED]))

    def lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Shown lines that count, in order of time: features (R × F) and what is known of each (R × 4)."""
        kept = sorted(self.impressions.values(), key=lambda one: (one.shown_at, one.request_id))
        if not kept:
            return np.zeros((0, len(NAMES)), np.float32), np.zeros((0, 4), np.int8)
        counting = [one.counting() for one in kept]
        x_RF = np.concatenate([one.x_KF[which_K] for one, which_K in zip(kept, counting, strict=True)])
        told_R4 = np.concatenate([one.told_K4[which_K] for one, which_K in zip(kept, counting, strict=True)])
        return x_RF.astype(np.float32), told_R4

    def _fit_click(self, raw: Raw, seed: int, threads: int) -> Head | None:
        x_RF, told_R4 = self.lines()
        label_R = (told_R4[:, POSITIVE] > 0).astype(np.float64)
        return fit(x_RF, label_R, raw(x_RF), seed, threads) if label_R.sum() >= LEAST_SHOWN else None


def _fit_acts(acts: list[Act], labels: list[int] | list[bool], seed: int, threads: int) -> Head | None:
    if not acts:
        return None
    x_RF = np.stack([act.x_F for act in acts]).astype(np.float32)
    return fit(x_RF, np.array(labels, np.float64), None, seed, threads)


def _calibrate_click(raw: Raw, held_out: HeldOut) -> Head:
    """Before enough was shown: the ranker's score, calibrated among candidates."""
    start = Head(start=Platt(), model="", calibration=Platt(), measured=Measured(0.0, 0.0, 0.0, 0))
    return calibrated(start, held_out.x_RF, held_out.label_R, raw(held_out.x_RF), held_out.weight_R)
