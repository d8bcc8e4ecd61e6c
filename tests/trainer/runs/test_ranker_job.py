"""The ranker's background job on a real broker: what lies on `ranking-examples` becomes a ranker that is announced."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer

from store.checkpoints import RANKER_KEY, RankerRecord
from store.log import Forgotten
from store.records.foreign import ForeignRecords
from store.settings import Settings
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on
from tests.waiting import eventually
from trainer.ranking.columns import COLUMNS, NAMES
from trainer.ranking.example import Example
from trainer.ranking.impressions import POSITIVE, ImpressionOutcome, Shown
from trainer.ranking.learner import RankerRules
from trainer.ranking.ranker import ranker_from
from trainer.runs.causes.drift import Drift
from trainer.runs.ranker_job import RankerJob

NOW = 1.6e9
RULES = RankerRules(first=20, min_rows=2, trees=5)


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster, tmp_path: Path) -> Settings:
    made = settings_on(
        embedded_broker.bootstrap_servers,
        f"ranker-job-{uuid.uuid4().hex[:8]}.",
        kafka={"partitions": 1},
        checkpoint_dir=str(tmp_path),
        training={"backfill_engagements": 0},
        serving={"impression_window_s": 60.0},
    )
    create_topics(made)
    return made


def example(number: int, user_id: str = "ada") -> bytes:
    """People go for what `follows`."""
    x_BF = np.random.default_rng(number).normal(size=(5, len(NAMES)))
    x_BF[0, COLUMNS["follows"]] += 3.0
    made = Example(
        user_id=user_id, item_id="i", task="home", kind="click", occurred_at=NOW - number, weight=1.0, rank=number % 20,
        candidates=50, source="follows", positives=3, age_s=9.0, history=2, columns=len(NAMES), cold_negatives=0,
        features=x_BF.astype("<f2").tobytes(), items=[f"i{number}", *"abcd"],
    )  # fmt: skip
    return msgspec.msgpack.encode(made)


def publish(settings: Settings, producer: KafkaProducer, *values: bytes, key: bytes = b"ada", **given: Any) -> None:
    for value in values:
        producer.send(settings.topic("ranking-examples"), value, key=key, **given)
    producer.flush(20)


@pytest.fixture
def job(settings: Settings) -> Iterator[RankerJob]:
    job = RankerJob(settings, RULES)
    yield job
    job.close()


def test_enough_examples_become_a_ranker_whose_file_is_whole_when_it_is_announced(
    settings: Settings, producer: KafkaProducer, job: RankerJob
) -> None:
    folder = settings.checkpoint_folder() / "rankers"
    folder.mkdir(parents=True)
    older = [f"ranker-{1_600_000_000_000 + number}.txt" for number in range(3)]
    for name in older:
        (folder / name).touch()
    publish(settings, producer, *map(example, range(19)))
    for _ in range(3):
        job.poll(time.time())
    assert read_topic(settings, "checkpoints") == [], "nothing is fitted to so few"
    publish(settings, producer, example(19))
    (record,) = eventually(lambda: job.poll(time.time()) or read_topic(settings, "checkpoints"))
    announced = msgspec.json.decode(record.value, type=RankerRecord)
    assert (record.key, announced.ranker) == (RANKER_KEY, "20")
    ranker = ranker_from(Path(announced.location).read_bytes())
    x_BF = np.zeros((2, len(NAMES)), np.float32)
    x_BF[0, COLUMNS["follows"]] = 3.0
    better, worse = ranker.score(x_BF)
    assert better > worse
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == [*older[1:], Path(announced.location).name], "three are kept, and none half-written"
    moments = [one.occurred_at for one in job.recent_examples()]
    assert moments == sorted(NOW - number for number in range(20)), "in event time"


def test_what_is_none_is_passed_over_and_told_and_so_is_who_was_forgotten(
    settings: Settings, producer: KafkaProducer
) -> None:
    told: list[str] = []
    drift = Drift(5)
    job = RankerJob(settings, RULES, drift, ForeignRecords(told.append))
    order = Forgotten(user_id="bob", offset=3, forgotten_at_ms=int(time.time() * 1000) + 60_000)
    producer.send(settings.topic("forgotten-users"), order.encode(), key=order.key()).get(20)
    publish(settings, producer, example(0, "bob"), key=b"bob")
    publish(settings, producer, b"no example", example(1))
    job.poll(time.time())
    job.close()
    assert told == ["ranking-examples"]
    assert (job.learner.absorbed, [one.user_id for one in job.recent_examples()]) == (1, ["ada"])


def test_what_was_shown_is_learned_from_when_its_window_has_closed_also_after_a_restart(
    settings: Settings, producer: KafkaProducer, job: RankerJob
) -> None:
    def shown(request_id: str, at: float) -> bytes:
        rows = np.zeros((2, len(NAMES)), "<f2").tobytes()
        told = {"request_id": request_id, "user_id": "ada", "task": "home", "columns": len(NAMES), "features": rows}
        return msgspec.msgpack.encode(Shown(shown_at=at, item_ids=["i", "j"], **told))  # type: ignore[arg-type]

    engaged = {"user_id": "ada", "item_id": "j", "kind": "click", "weight": 1.0, "request_id": "r1"}
    outcome = ImpressionOutcome(occurred_at=NOW + 5.0, **engaged)  # type: ignore[arg-type]
    publish(settings, producer, shown("r1", NOW), msgspec.msgpack.encode(outcome))
    job.poll(NOW + 5.0)
    assert not job.learner.feedback.impressions, "its window is open"
    publish(settings, producer, shown("r2", NOW + 61.0))
    job.poll(NOW + 5.0)
    restarted = RankerJob(settings, RULES)
    restarted.poll(NOW + 5.0)
    restarted.close()
    for each in (job, restarted):
        (impression,) = each.learner.feedback.impressions.values()
        assert (impression.request_id, impression.told_K4[:, POSITIVE].tolist()) == ("r1", [0, 1])
