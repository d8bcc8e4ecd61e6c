"""The status judges every stage by its objective and claims nothing without evidence."""

from __future__ import annotations

from store.settings import Freshness
from stream.metrics.canary_ages import STAGES
from stream.metrics.metrics import Metrics
from stream.metrics.status import report
from tests.stream.metrics.exposition import FakeClock


def test_status_judges_every_stage_and_claims_nothing_without_evidence(metrics: Metrics, clock: FakeClock) -> None:
    empty = report(metrics.snapshot(), Freshness())
    assert empty["verdict"] == "unknown"
    assert {stage["verdict"] for stage in empty["stages"]} == {"unknown"}
    metrics.became_recommendable(0.1)
    metrics.embedded(0.45)
    metrics.serving(data_until=clock.now - 7 * 3600, published_at=clock.now - 60)
    metrics.lag({("engagements", 0): 20_000})
    status = report(metrics.snapshot(), Freshness())
    verdicts = {stage["stage"]: stage["verdict"] for stage in status["stages"]}
    assert verdicts == {
        "upload_to_semantic_id": "unknown",
        "upload_to_recommendable": "met",
        "engagement_to_embedding": "close",
        "serving_model_data_age": "missed",
        "checkpoint_age": "met",
        "codebook_age": "unknown",
    }
    assert status["lag"]["engagements"]["verdict"] == "missed"
    assert status["verdict"] == "missed"


def test_the_whole_is_not_met_while_a_stage_has_no_data(metrics: Metrics) -> None:
    metrics.became_recommendable(0.1)
    metrics.embedded(0.1)
    assert report(metrics.snapshot(), Freshness())["verdict"] == "unknown"


def test_nothing_is_met_while_no_broker_tells_the_lag(metrics: Metrics, clock: FakeClock) -> None:
    for passed in (metrics.semantic_id_assigned, metrics.became_recommendable, metrics.embedded):
        passed(0.1)
    metrics.serving(data_until=clock.now, published_at=clock.now)
    metrics.codebook_serves(clock.now)
    metrics.lag({("engagements", 0): 0})
    assert report(metrics.snapshot(), Freshness())["verdict"] == "met"
    metrics.lag({})
    assert report(metrics.snapshot(), Freshness())["verdict"] == "unknown"


def test_objectives_are_the_settings(metrics: Metrics) -> None:
    metrics.lag({("engagements", 0): 20_000})
    lenient = report(metrics.snapshot(), Freshness(input_lag_events=30_000, codebook_age_s=60.0))
    assert lenient["lag"]["engagements"] == {"events": 20_000, "objective": 30_000, "verdict": "met"}
    assert {stage["stage"]: stage["objective_s"] for stage in lenient["stages"]}["codebook_age"] == 60.0


def test_codebook_health_is_reported(metrics: Metrics) -> None:
    metrics.codebook_measured(perplexities=[200.0, 150.0], error=0.2, collision_ratio=0.01)
    health = report(metrics.snapshot(), Freshness())["codebook_health"]
    assert health == {"collision_ratio": 0.01, "perplexity": [200.0, 150.0], "quantization_error": 0.2}


def with_canaries(metrics: Metrics, left_at: float) -> None:
    for stage in STAGES:
        metrics.canaries.watch(stage, {0})
        metrics.canaries.came(stage, 0, round(1000 * left_at))


def test_an_idle_pipeline_is_known_to_be_well_and_a_stalled_one_is_seen(metrics: Metrics, clock: FakeClock) -> None:
    clock.now += 5
    with_canaries(metrics, clock.now - 0.1)
    metrics.serving(data_until=clock.now, published_at=clock.now)
    metrics.codebook_serves(clock.now)
    metrics.lag({("engagements", 0): 0})
    idle = report(metrics.snapshot(), Freshness())
    assert (idle["verdict"], idle["stages"][0]["events"], idle["stages"][0]["canary"]["came"]) == ("met", 0, 1)
    clock.now += 102
    stalled = report(metrics.snapshot(), Freshness())
    assert {stage["verdict"] for stage in stalled["stages"][:3]} == {"missed"}
    assert stalled["verdict"] == "missed"


def test_events_say_nothing_of_a_way_on_which_canaries_are_overdue(metrics: Metrics, clock: FakeClock) -> None:
    clock.now += 5
    with_canaries(metrics, clock.now)
    metrics.embedded(0.1)
    clock.now += 60
    stage = report(metrics.snapshot(), Freshness())["stages"][2]
    assert (stage["value_s"], stage["events"], stage["verdict"]) == (0.1, 1, "missed")


def test_nothing_is_met_of_which_no_canary_has_come(metrics: Metrics) -> None:
    metrics.canaries.watch("engagement_to_embedding", {0, 1})
    metrics.canaries.came("engagement_to_embedding", 0, 1_000_000)
    metrics.embedded(0.1)
    stage = report(metrics.snapshot(), Freshness())["stages"][2]
    assert (stage["verdict"], stage["canary"]["missing"]) == ("unknown", 1)


def test_a_worker_without_partitions_judges_by_what_every_scorer_sees(metrics: Metrics, clock: FakeClock) -> None:
    clock.now += 5
    with_canaries(metrics, clock.now)
    metrics.canaries.watch("upload_to_semantic_id", ())
    assert report(metrics.snapshot(), Freshness())["stages"][0]["verdict"] == "met"
