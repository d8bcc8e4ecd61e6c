"""The gate: no model serves unless the system is better with it, on the newest events, which it has not seen.

What decides is what the system gains (`trainer.gate.system_gain`): the ranker's order with the candidate's score
against the order with the serving model's, and with none, in nats per held-out engagement. A first model must surely
help; a later one must not surely be worse than the serving one, less a tolerance, nor than none (one-sided, 90 %),
overall and on every slice of at least `min_events`: per task, fresh, cold, younger than what it learned. A model that
answers with what is no live item or no number, or too slowly, is refused whatever it gains.

Where too few ranking examples were at hand to measure that, the models' own orders of all items decide, beside that of
what is popular: then a candidate's gain (NDCG at 10) must not be surely below the serving model's, nor its hits below
a share of popularity's.

Invariant: `judge` is a pure function; the same scores give the same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.gate.held_out import Scores
from trainer.gate.system_gain import NONE, Gain, Order, gain_of

_CONFIDENCE_Z = 1.2816
"""One-sided 90 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """`tolerance`: part of the serving model's gain that a candidate may lack; `floor`: part of popular's hits that it
    must reach; `min_events`: the smallest slice that decides; below `least_events` overall nothing passes; an answer
    may take `answer_ms` of a processor's time; with fewer than `examples` ranking examples the models alone decide."""

    tolerance: float = 0.05
    floor: float = 0.25
    min_events: int = 50
    least_events: int = 20
    answer_ms: float = 100.0
    examples: int = 50


@dataclass(frozen=True, slots=True)
class SystemOrders:
    """How the system orders M of the N held-out engagements by role; `event_M`: which these are."""

    event_M: np.ndarray
    by_role: Mapping[str, Order]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reasons and the rule that decided; hit ratio and gain of the models alone per (role, slice):
    role is candidate, serving or popular; what the system gains by the candidate per (against, slice), in nats and in
    NDCG at 10, against serving or none. `figures`: the scores that the verdict rests on, in a sentence."""

    passed: bool
    reasons: list[str]
    rule: str = ""
    figures: str = ""
    hit_ratio: dict[tuple[str, str], float] = field(default_factory=dict)
    gain: dict[tuple[str, str], float] = field(default_factory=dict)
    nats: dict[tuple[str, str], Gain] = field(default_factory=dict)
    ndcg: dict[tuple[str, str], Gain] = field(default_factory=dict)


def judge(
    slices: Mapping[str, np.ndarray],
    candidate: Scores,
    serving: Scores | None,
    popular: Scores,
    rules: GateRules,
    system: SystemOrders | None = None,
    faults: Sequence[str] = (),
) -> Judgement:
    """The verdict. `slices`: name → which of the N events it holds (bool); `overall` must be among them. `faults`:
    what is wrong with the candidate whatever it gains."""
    reasons = list(faults)
    if (asked := int(slices["overall"].sum())) < rules.least_events:
        reasons.append(f"only {asked} held-out engagements with items new to their users: too few to judge on")
    nats, ndcg = _gains(slices, system) if system is not None else ({}, {})
    measured = system is not None and len(system.event_M) >= rules.examples
    if measured and system is not None:
        reasons += _system_reasons(slices, system, nats, rules)
        holds = f"the system gains by it, in nats: {nats[NONE, 'overall']}"
    else:
        reasons += _own_reasons(slices, candidate, serving, popular, rules)
        holds = f"holds on {asked} held-out engagements"
    roles = {"candidate": candidate, "popular": popular} | ({"serving": serving} if serving is not None else {})
    held = {name: mask_N for name, mask_N in slices.items() if mask_N.any()}
    return Judgement(
        figures=_figures(slices["overall"], roles, nats),
        passed=not reasons,
        reasons=reasons or [holds],
        rule="what the system gains" if measured else "the model alone: too few ranking examples to ask the system",
        hit_ratio={(r, n): float(s.hit_N[m].mean()) for r, s in roles.items() for n, m in held.items()},
        gain={(r, n): float(s.gain_N[m].mean()) for r, s in roles.items() for n, m in held.items()},
        nats=nats,
        ndcg=ndcg,
    )


def _figures(overall_N: np.ndarray, roles: Mapping[str, Scores], nats: Mapping[tuple[str, str], Gain]) -> str:
    """What everybody scored over all."""
    if not overall_N.any():
        return "scores: none, nothing was held out"
    alone = ", ".join(
        f"{role} {scores.gain_N[overall_N].mean():.4f} and {scores.hit_N[overall_N].mean():.4f}"
        for role, scores in roles.items()
    )
    gains = "".join(
        f"; in nats the system gains {gain} over {role}" for (role, name), gain in nats.items() if name == "overall"
    )
    return f"scores on {int(overall_N.sum())} held-out engagements, NDCG@10 and hits@10: {alone}{gains}"


Gains = dict[tuple[str, str], Gain]


def _gains(slices: Mapping[str, np.ndarray], system: SystemOrders) -> tuple[Gains, Gains]:
    """What the candidate adds to each other role, by slice: in nats, and in NDCG at 10."""
    own = system.by_role["candidate"]
    nats: Gains = {}
    ndcg: Gains = {}
    for role, other in system.by_role.items():
        for name, mask_N in slices.items():
            mask_M = mask_N[system.event_M]
            if role != "candidate" and mask_M.any():
                nats[role, name] = gain_of((own.nats_N - other.nats_N)[mask_M])
                ndcg[role, name] = gain_of((own.ndcg_N - other.ndcg_N)[mask_M])
    return nats, ndcg


def _system_reasons(slices: Mapping[str, np.ndarray], system: SystemOrders, nats: Gains, rules: GateRules) -> list[str]:
    """Why the candidate must not serve, by what the system gains."""
    reasons = []
    none, own, serving = (system.by_role.get(role) for role in (NONE, "candidate", "serving"))
    assert none is not None
    assert own is not None
    for name, mask_N in slices.items():
        mask_M = mask_N[system.event_M]
        if mask_M.sum() < rules.min_events:
            continue
        if serving is not None:
            wanted_M = none.nats_N + (1.0 - rules.tolerance) * (serving.nats_N - none.nats_N)
            if _surely_below(own.nats_N[mask_M], wanted_M[mask_M]):
                reasons.append(f"{name}: worse than the serving checkpoint, in nats: {nats['serving', name]}")
        if _surely_below(own.nats_N[mask_M], none.nats_N[mask_M]):
            reasons.append(f"{name}: the system is better without it, in nats: {nats[NONE, name]}")
        elif name == "overall" and serving is None and not _surely_below(none.nats_N[mask_M], own.nats_N[mask_M]):
            reasons.append(
                f"{name}: a first model that does not surely help is not served, in nats: {nats[NONE, name]}"
            )
    return reasons


def _own_reasons(
    slices: Mapping[str, np.ndarray], candidate: Scores, serving: Scores | None, popular: Scores, rules: GateRules
) -> list[str]:
    """Why the candidate must not serve, by the models' own orders."""
    reasons = []
    for name, mask_N in slices.items():
        if mask_N.sum() < rules.min_events:
            continue
        if serving is not None:
            wanted_N = (1.0 - rules.tolerance) * serving.gain_N[mask_N]
            if _surely_below(candidate.gain_N[mask_N], wanted_N):
                got, had = candidate.gain_N[mask_N].mean(), serving.gain_N[mask_N].mean()
                reasons.append(f"{name}: NDCG@10 {got:.4f}, the serving checkpoint {had:.4f}, on {mask_N.sum()} events")
        if name == "overall" and _surely_below(candidate.hit_N[mask_N], rules.floor * popular.hit_N[mask_N]):
            got, had = candidate.hit_N[mask_N].mean(), popular.hit_N[mask_N].mean()
            reasons.append(f"{name}: hits {got:.4f}, less than {rules.floor:g} of popular's {had:.4f}")
    return reasons


def _surely_below(got_N: np.ndarray, wanted_N: np.ndarray) -> bool:
    """Whether the paired difference is below zero by more than its standard error explains."""
    difference_N = got_N - wanted_N
    error = difference_N.std(ddof=1) / np.sqrt(len(difference_N)) if len(difference_N) > 1 else np.inf
    return bool(difference_N.mean() + _CONFIDENCE_Z * error < 0)
