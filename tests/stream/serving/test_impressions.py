"""What was shown, in a running system: a request, an engagement with its id, and what the trainer's learner gets."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from kafka import KafkaProducer

from store.settings import Settings
from tests.stream.test_worker import Running, settings_on
from tests.waiting import eventually
from trainer.ranking.impressions import NEGATIVE, POSITIVE, Impression
from trainer.runs.ranker_job import RankerJob

pytestmark = pytest.mark.timeout(600)

WINDOW_S = 3.0
ITEMS = 12


@pytest.fixture(scope="module")
def running(embedded_broker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = settings_on(embedded_broker)
    serving = msgspec.structs.replace(
        settings.serving,
        live_sample=1.0,
        impression_sample=1.0,
        impression_window_s=WINDOW_S,
        explore_share=1.0,
    )
    settings = msgspec.structs.replace(settings, serving=serving)
    running = Running(settings, tmp_path_factory.mktemp("impressions"))
    for number in range(ITEMS):
        running.upload(f"film-{number}", f"{'Space' if number % 2 else 'Garden'} story part {number}")
    eventually(lambda: len(running.recommended("first", k=50)) == ITEMS)
    yield running
    running.publisher.close()
    assert running.worker.stop() == 0


@pytest.fixture
def job(running: Running) -> Iterator[RankerJob]:
    job = RankerJob(running.settings)
    yield job
    job.close()


def learned(job: RankerJob, request_id: str) -> Impression | None:
    job.poll(time.time())
    return job.learner.feedback.impressions.get(request_id)


def positives(impression: Impression) -> list[int]:
    return [int(number) for number in impression.told_K4[:, POSITIVE]]


def test_an_engagement_with_its_request_makes_one_positive_and_the_rest_negatives_when_the_window_closes(
    running: Running, job: RankerJob
) -> None:
    answer = running.get("/v1/recommend", user_id="viewer", k=5)
    shown = [item["item_id"] for item in answer["items"]]
    event_id = uuid.uuid4().hex
    for _ in range(2):  # the second is a duplicate
        running.engage("viewer", shown[2], request_id=answer["request_id"], event_id=event_id, task="home")
    asked_at = time.time()
    eventually(lambda: running.get(f"/v1/items/{shown[2]}")["counters"] == {"click": 1})
    impression = eventually(lambda: learned(job, answer["request_id"]))
    assert time.time() - asked_at > WINDOW_S - 1.0  # not before the window closed
    assert impression.x_KF.shape[0] == 5
    assert positives(impression) == [0, 0, 1, 0, 0]

    running.engage("viewer", shown[0], request_id=answer["request_id"])  # late: it corrects
    running.engage("viewer", shown[1], kind="dislike", request_id=answer["request_id"])
    eventually(lambda: sum(positives(learned(job, answer["request_id"]))) == 2)  # type: ignore[arg-type]
    eventually(lambda: learned(job, answer["request_id"]).told_K4[1, NEGATIVE] == 1)  # type: ignore[union-attr]
    assert job.learner.feedback.closed == len(job.learner.feedback.impressions)
    restarted = RankerJob(running.settings)
    again = eventually(lambda: learned(restarted, answer["request_id"]))
    restarted.close()
    assert again.told_K4.tolist() == learned(job, answer["request_id"]).told_K4.tolist()  # type: ignore[union-attr]


def test_without_its_request_an_engagement_finds_the_line_by_user_and_item(running: Running, job: RankerJob) -> None:
    answer = running.get("/v1/recommend", user_id="silent", k=4)
    running.engage("silent", answer["items"][3]["item_id"])
    impression = eventually(lambda: learned(job, answer["request_id"]))
    assert positives(impression) == [0, 0, 0, 1]


def test_an_impression_event_that_was_served_by_others_is_learned_from(running: Running, job: RankerJob) -> None:
    def passed() -> list[int]:
        user = f"elsewhere-{uuid.uuid4().hex}"
        running.engage(f"somebody-{uuid.uuid4().hex}", "film-2")
        running.engage(user, "film-3", kind="impression", event_id=user)
        running.engage(user, "film-3")
        job.poll(time.time())
        found = [one for name, one in job.learner.feedback.impressions.items() if name.startswith("event/elsewhere")]
        return positives(found[0]) if found else []

    assert eventually(passed) == [1]


def test_a_negative_engagement_is_an_example_and_enters_no_hit_ratio(running: Running, job: RankerJob) -> None:
    def refused() -> bool:  # as many of these are scored as positive ones
        running.engage(f"friend-{uuid.uuid4().hex}", "film-5")
        running.engage(f"critic-{uuid.uuid4().hex}", "film-5", kind="hide")
        job.poll(time.time())
        return any(act.negative for act in job.learner.feedback.acts)

    eventually(refused)


def test_the_live_hit_ratio_is_told_by_task_and_on_fresh_items(running: Running) -> None:
    def searched() -> str:  # at most a few a second are ranked, in a share of the worker's time
        running.engage(f"searcher-{uuid.uuid4().hex}", "film-7", task="search", query="space")
        time.sleep(0.2)
        return _exposed(running, 'slice="search"')

    text = eventually(searched)
    assert 'sidestream_live_hit_ratio{k="10",slice="overall"}' in text
    assert 'sidestream_live_hit_ratio{k="10",slice="fresh"}' in text


def test_exploration_is_reported(running: Running) -> None:
    answer = running.get("/v1/recommend", user_id="curious", k=4)
    explored = answer["items"][-1]
    assert explored["source"] == "explore"
    before = running.get("/v1/status")["exploration"]
    running.engage("curious", explored["item_id"], request_id=answer["request_id"])
    eventually(lambda: running.get("/v1/status")["exploration"]["explored_hits"] > before["explored_hits"])
    found = running.get("/v1/status")["exploration"]
    assert 0 < found["covered"] <= found["little_known"] <= ITEMS
    assert 0 < found["explored"] < found["lines"]
    assert found["share"] == pytest.approx(found["explored"] / found["lines"])
    text = _exposed(running, "sidestream_exploration_coverage_ratio ")
    assert 'sidestream_shown_line_hits_total{source="explore"}' in text
    assert 'sidestream_shown_lines_total{source="explore"}' in text


def test_each_line_tells_its_heads_only_when_asked(running: Running) -> None:
    plain = running.get("/v1/recommend", user_id="first", k=3)["items"]
    assert all("heads" not in item for item in plain)
    told = running.get("/v1/recommend", user_id="first", k=3, explain="true")["items"]
    assert all(set(item["heads"]) == {"click", "completion", "negative"} for item in told)
    assert all(0 <= p <= 1 for item in told for p in item["heads"].values())
    refused = running.get("/v1/recommend", user_id="first", explain="perhaps")
    assert refused["error"]["field"] == "explain"


def test_a_late_outcome_reaches_the_learner_from_any_worker(running: Running, job: RankerJob) -> None:
    """After a rebalance another worker reads the engagement: it knows nothing of the answer, and need not."""
    answer = running.get("/v1/recommend", user_id="moved", k=3)
    settings: Settings = running.settings
    other = Running(settings, running.worker.folder.parent / f"other-{uuid.uuid4().hex[:6]}")
    try:
        running.engage("moved", answer["items"][1]["item_id"], request_id=answer["request_id"])
        impression = eventually(lambda: learned(job, answer["request_id"]))
        eventually(lambda: sum(positives(learned(job, answer["request_id"]))) == 1)  # type: ignore[arg-type]
        assert positives(impression)[1] == 1
    finally:
        other.publisher.close()
        other.worker.kill()


def _exposed(running: Running, name: str) -> str:
    text = httpx.get(f"{running.worker.url}/metrics", timeout=10).text
    return text if name in text else ""


def test_what_is_no_record_is_passed_over(running: Running, job: RankerJob) -> None:
    producer = KafkaProducer(bootstrap_servers=running.settings.kafka.bootstrap_servers)
    producer.send(running.settings.topic("ranking-examples"), b"no record", key=b"x").get(timeout=10)
    producer.close()
    answer = running.get("/v1/recommend", user_id="after", k=2)
    assert positives(eventually(lambda: learned(job, answer["request_id"]))) == [0, 0]
