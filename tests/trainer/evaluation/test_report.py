from __future__ import annotations

import pytest

from trainer.evaluation.cold_evaluation import RankWithinKind
from trainer.evaluation.prequential import EvaluatedEngagement, ReplayOptions, ReplayResult
from trainer.evaluation.report import measure, report, wilson


def outcome(
    rank: int,
    *,
    positives: int = 100,
    age_s: float = 1e7,
    source: str = "follows",
    popular: int = -1,
    proposers: tuple[str, ...] = (),
) -> EvaluatedEngagement:
    return EvaluatedEngagement(0, 1.6e9, rank, source, positives, age_s, 3, 200, {"popular": popular}, proposers)


def test_hits_and_gains_by_hand() -> None:
    found = measure([0, 9, 10, -1], 10)
    assert found["hr@10"] == 0.5
    assert found["hr@50"] == 0.75
    assert found["ndcg@10"] == pytest.approx((1 + 1 / 3.4594316) / 4)


def test_nothing_evaluated_is_no_number_rather_than_zero() -> None:
    found = measure([], 10)
    assert (found["hr@10"], found["ndcg@10"], found["hr@10_interval"]) == (None, None, None)


def test_the_interval_holds_the_share_and_narrows() -> None:
    few, many = wilson(1, 10), wilson(100, 1000)
    assert few is not None
    assert many is not None
    assert few[0] < 0.1 < few[1]
    assert 0 <= few[0] < many[0] < 0.1 < many[1] < few[1]


def test_slices_count_what_they_say() -> None:
    evaluated = [
        outcome(0, positives=0, age_s=60.0, source="fresh"),
        outcome(3, positives=4, age_s=2 * 86_400.0, proposers=("follows", "popular")),
        outcome(-1, popular=2),
        outcome(12, proposers=("follows",)),
    ]
    result = ReplayResult(evaluated=evaluated, within=[RankWithinKind(True, 3, 100), RankWithinKind(False, 50, 200)])
    found = report("s", result, ReplayOptions())
    assert [found[name]["evaluated"] for name in ("overall", "cold", "fresh")] == [4, 1, 2]
    assert [found[name]["evaluated"] for name in ("younger_than_day", "younger_than_week")] == [1, 2]
    assert found["overall"]["hr@10"] == 0.5
    assert found["baselines"]["popular"]["overall"]["hr@10"] == 0.25
    assert found["candidates"]["recall"] == 0.75
    assert found["sources"] == {"fresh": 0.5, "follows": 0.5}
    assert found["source_recall"] == {"follows": 0.5, "popular": 0.25}
    assert [piece["recall"] for piece in found["over_time"]] == [1.0, 1.0, 0.0, 1.0]
    assert found["cold"]["within"]["hr@10"] == 1.0
    assert found["cold"]["within"]["chance@10"] == pytest.approx(0.1)
    assert found["fresh"]["within"]["hr@10"] == 0.0
    assert found["headline"] == [
        "overall: hr@10 0.500 against 0.250 of popular, the better one = 2.00 ×",
        "fresh: hr@10 1.000 against 0.000 of popular, the better one",
        "cold items among 100 as untouched: 10.0 × chance (1.000 / 0.100), 1 of them",
        "candidates: 0.75 of the true items are among 200",
    ]
