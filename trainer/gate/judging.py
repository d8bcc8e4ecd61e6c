"""Judging a candidate: asks candidate and serving model about the held-out engagements, and the system with each.

Invariant: the verdict is a function of what is handed in, but for the time that answers take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from store.settings import Training
from trainer.gate.gate import GateRules, Judgement, SystemOrders, judge
from trainer.gate.held_out import HeldOutEvents
from trainer.gate.model_evaluation import ModelEvaluation, evaluate_model
from trainer.gate.system_gain import base_ranker, orders, rows_of
from trainer.model.beam_search import Generator
from trainer.model.corpus import Corpus
from trainer.ranking.example import Example, Group
from trainer.ranking.learner import RankerRules


@dataclass(frozen=True, slots=True)
class Asked:
    """A model, and the corpus's items under its codebook."""

    generator: Generator
    codes_IL: np.ndarray


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement, and what is told of each model beside it."""

    judgement: Judgement
    models: dict[str, ModelEvaluation]

    def metrics(self) -> dict[str, float]:
        """Everything as figures with names, for the manifest."""
        told: dict[str, float] = {}
        for (role, name), value in self.judgement.hit_ratio.items():
            told[f"{role}.{name}.hr@10"] = value
        for (role, name), value in self.judgement.gain.items():
            told[f"{role}.{name}.ndcg@10"] = value
        for measure, gains in (("nats", self.judgement.nats), ("ndcg@10", self.judgement.ndcg)):
            for (role, name), gain in gains.items():
                against = f"gain.{role}.{name}.{measure}"
                told |= {against: gain.mean, f"{against}.low": gain.low, f"{against}.high": gain.high}
                told[f"gain.{role}.{name}.events"] = float(gain.events)
        for role, model in self.models.items():
            told[f"{role}.loss"], told[f"{role}.invalid"] = model.loss, model.invalid
            told[f"{role}.answer_ms"] = model.answer_ms
        return told


def judge_candidate(
    candidate: Asked,
    serving: Asked | None,
    corpus: Corpus,
    held_E: np.ndarray,
    examples: Sequence[Example],
    training: Training,
    *,
    history: int,
    ranking: RankerRules = RankerRules(),
    heartbeat: Callable[[float], object] = float,
) -> Judged:
    """The verdict. `examples`: ranking examples, oldest first; those of held-out engagements are what the system is
    asked, those before them teach the ranker that orders, as `ranking` says."""
    held_out = HeldOutEvents.of(corpus, held_E, training.gate_engagements, training.seed)
    asked, earlier = _split(examples, held_out)
    rows = [asked[n][1] if n in asked else _NOTHING for n in range(len(held_out.event_N))]
    models = {}
    roles = {"candidate": candidate} | ({"serving": serving} if serving is not None else {})
    for number, (role, model) in enumerate(roles.items()):
        models[role] = evaluate_model(
            model.generator,
            held_out,
            model.codes_IL,
            rows=rows,
            history=history,
            heartbeat=lambda done, number=number: heartbeat((number + done) / len(roles)),  # type: ignore[misc]
        )
    places = sorted(asked)
    groups = [asked[n][0] for n in places]
    suits = {role: [model.suits[n] for n in places] for role, model in models.items()}
    system = None
    if groups and len(groups) >= training.gate_examples:
        ranker = base_ranker(earlier, ranking, training.seed)
        system = SystemOrders(np.array(places, np.int64), orders(groups, ranker, suits))
    rules = GateRules(
        tolerance=training.gate_tolerance,
        floor=training.gate_floor,
        min_events=training.gate_min_events,
        least_events=training.gate_least_events,
        answer_ms=training.gate_answer_ms,
        examples=training.gate_examples,
    )
    other = models["serving"].scores if serving is not None else None
    faults = _faults(models["candidate"], rules)
    scores = models["candidate"].scores
    return Judged(judge(held_out.slices(), scores, other, held_out.popular(), rules, system, faults), models)


_NOTHING = np.zeros(0, np.int64)


def _faults(model: ModelEvaluation, rules: GateRules) -> list[str]:
    faults = []
    if model.invalid > 0:
        faults.append(f"{model.invalid:.1%} of its answers are no live item or no number: none may be")
    if model.answer_ms > rules.answer_ms:
        faults.append(f"an answer takes {model.answer_ms:.0f} ms of a processor, more than {rules.answer_ms:.0f}")
    return faults


def _split(
    examples: Sequence[Example], held_out: HeldOutEvents
) -> tuple[dict[int, tuple[Group, np.ndarray]], list[Example]]:
    """Rows and their items' places for those held-out engagements that have an example, by number; and the examples
    from before all of them."""
    corpus, event_N = held_out.corpus, held_out.event_N
    places = {item_id: place for place, item_id in enumerate(corpus.item_ids)}
    users = {user_id: number for number, user_id in enumerate(corpus.user_ids)}
    numbers = {
        (int(corpus.user_E[e]), int(corpus.item_E[e]), float(corpus.occurred_E[e])): n
        for n, e in enumerate(event_N.tolist())
    }
    since_s = float(corpus.occurred_E[event_N].min(initial=np.inf))
    found: dict[int, tuple[Group, np.ndarray]] = {}
    for example in examples:
        key = (users.get(example.user_id, -1), places.get(example.item_id, -1), example.occurred_at)
        number = numbers.get(key)
        told = rows_of(example, places) if number is not None and example.weight > 0 else None
        if number is not None and told is not None:
            found[number] = told
    return found, [example for example in examples if example.occurred_at < since_s]
