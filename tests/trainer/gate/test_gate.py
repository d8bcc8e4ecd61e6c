"""The gate: pure, refuses what is worse, passes what is not, and asks only about the unseen."""

from __future__ import annotations

import numpy as np

from trainer.gate.gate import GateRules, SystemOrders, judge
from trainer.gate.held_out import Scores
from trainer.gate.system_gain import Order


def scores(gain: float, events: int = 400, seed: int = 0) -> Scores:
    hit_N = (np.random.default_rng(seed).random(events) < gain).astype(float)
    return Scores(hit_N, hit_N * 0.6)


EVERY = {"overall": np.ones(400, bool)}


def test_a_first_model_must_reach_a_part_of_popular() -> None:
    assert judge(EVERY, scores(0.1), None, scores(0.2, seed=1), GateRules()).passed
    refused = judge(EVERY, scores(0.0), None, scores(0.2, seed=1), GateRules())
    assert not refused.passed
    assert "popular" in refused.reasons[0]


def test_a_verdict_tells_the_scores_that_it_rests_on() -> None:
    few = {"overall": np.arange(400) < 19}
    for slices in (EVERY, few, {**EVERY, "fresh": np.arange(400) < 200}):
        judged = judge(slices, scores(0.1), scores(0.2, seed=1), scores(0.1, seed=2), GateRules())
        asked = int(slices["overall"].sum())
        assert judged.figures.startswith(f"scores on {asked} held-out engagements, NDCG@10 and hits@10: candidate ")
        for role in ("candidate", "popular", "serving"):
            figures = f"{role} {judged.gain[role, 'overall']:.4f} and {judged.hit_ratio[role, 'overall']:.4f}"
            assert figures in judged.figures
    helps = judge(EVERY, scores(0.1), None, scores(0.1), GateRules(), system(0.1))
    assert f"in nats the system gains {helps.nats['none', 'overall']} over none" in helps.figures
    assert judge({"overall": np.zeros(400, bool)}, scores(0.1), None, scores(0.1), GateRules()).figures


def test_nothing_passes_unjudged() -> None:
    few = {"overall": np.arange(400) < 19}
    refused = judge(few, scores(0.9), None, scores(0.1), GateRules())
    assert not refused.passed
    assert "too few" in refused.reasons[0]


def test_a_clearly_worse_candidate_is_refused_with_figures() -> None:
    refused = judge(EVERY, scores(0.1), scores(0.2, seed=1), scores(0.1, seed=2), GateRules())
    assert not refused.passed
    assert "NDCG@10" in refused.reasons[0]
    assert refused.hit_ratio[("serving", "overall")] > refused.hit_ratio[("candidate", "overall")]


def test_an_equal_candidate_passes_whatever_chance_did() -> None:
    verdicts = [
        judge(EVERY, scores(0.2, seed=s), scores(0.2, seed=s + 100), scores(0.1), GateRules()) for s in range(40)
    ]
    assert sum(v.passed for v in verdicts) >= 36


def test_a_slice_decides_only_when_it_is_large_enough() -> None:
    few = {**EVERY, "fresh": np.arange(400) < 20}
    many = {**EVERY, "fresh": np.arange(400) < 200}
    serving, candidate = scores(0.5), scores(0.5)
    candidate.gain_N[:200] = 0.0
    candidate.gain_N[200:] = serving.gain_N[200:] * 3  # good overall, nothing on fresh items
    assert judge(few, candidate, serving, scores(0.1), GateRules()).passed
    refused = judge(many, candidate, serving, scores(0.1), GateRules())
    assert [reason.split(":")[0] for reason in refused.reasons] == ["fresh"]


def system(candidate: float, serving: float | None = None, events: int = 400, seed: int = 0) -> SystemOrders:
    """Orders in which the candidate (and the serving model) add so many nats to none, with noise."""
    random = np.random.default_rng(seed)
    none_M = random.normal(-2.0, 1.0, events)

    def better(by: float) -> Order:
        nats_M = none_M + random.normal(by, 0.3, events)
        return Order(nats_M, np.exp(nats_M))

    roles = {"none": better(0.0), "candidate": better(candidate)}
    return SystemOrders(np.arange(events), roles | ({} if serving is None else {"serving": better(serving)}))


def test_a_first_model_must_help_the_system_whatever_it_can_alone() -> None:
    good, bad = scores(0.3), scores(0.0)
    helps = judge(EVERY, bad, None, scores(0.2, seed=1), GateRules(), system(0.1))
    assert helps.passed
    assert "the system gains by it, in nats: +0." in helps.reasons[0]
    assert helps.nats["none", "overall"].low > 0
    useless = judge(EVERY, good, None, scores(0.2, seed=1), GateRules(), system(0.0))
    assert not useless.passed
    assert "not served" in useless.reasons[0]


def test_a_later_model_must_not_be_surely_worse_for_the_system_on_any_slice() -> None:
    own = scores(0.3)
    assert judge(EVERY, own, own, own, GateRules(), system(0.1, serving=0.1)).passed
    worse = judge(EVERY, own, own, own, GateRules(), system(0.0, serving=0.2))
    assert "worse than the serving checkpoint" in worse.reasons[0]
    harmful = judge(EVERY, own, own, own, GateRules(), system(-0.2, serving=-0.2))
    assert any("better without it" in reason for reason in harmful.reasons)
    orders = system(0.1, serving=0.1)
    orders.by_role["candidate"].nats_N[:100] -= 1.0
    orders.by_role["candidate"].nats_N[100:] += 1.0
    cold = {**EVERY, "cold": np.arange(400) < 100}
    assert [reason.split(":")[0] for reason in judge(cold, own, own, own, GateRules(), orders).reasons] == [
        "cold",
        "cold",
    ]


def test_too_few_ranking_examples_leave_it_to_the_models_alone_and_the_verdict_says_so() -> None:
    judged = judge(EVERY, scores(0.2), None, scores(0.1), GateRules(), system(0.0, events=30))
    assert judged.passed
    assert "too few ranking examples" in judged.rule


def test_faults_refuse_whatever_is_gained() -> None:
    judged = judge(EVERY, scores(0.2), None, scores(0.1), GateRules(), system(0.5), ["1 % of its answers are dead"])
    assert judged.reasons == ["1 % of its answers are dead"]
