"""Poison anywhere: a foreign record on any topic stops nothing, at work or at a start, in the worker or the trainer."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import confluent_kafka
import httpx
import msgspec
import pytest

from store.checkpoints import CHECKPOINT_KEY, RANKER_KEY, RUN_KEY, CheckpointRecord, RankerRecord, RunRecord
from store.keys import partition_of
from store.log import Log
from store.records.foreign import ForeignRecords
from store.settings import Settings, settings_from
from store.topics import (
    CHECKPOINTS,
    DEAD_LETTERS,
    ENGAGEMENTS,
    FORGOTTEN_USERS,
    ITEM_SIGNALS,
    ITEM_STATES,
    PROFILES,
    RANKING_EXAMPLES,
    RECOMMEND_REQUESTS,
    RECOMMENDATIONS,
    SEMANTIC_IDS,
    TOPIC_NAMES,
    UPLOAD_STATES,
    UPLOADS,
    USER_STATES,
)
from stream.client.publisher import Publisher
from stream.kafka.dead_letters import read_letters
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster
from tests.poison import poison
from tests.stream.log import read_topic
from tests.waiting import eventually
from trainer.runs.log_window import read_window
from trainer.runs.new_engagements import NewEngagements
from trainer.runs.ranker_job import RankerJob
from trainer.runs.run_log import RunLog
from trainer.semantic_ids.codebook import zero_codebook
from trainer.semantic_ids.drift import CodebookDrift

pytestmark = pytest.mark.timeout(600)
PARTITIONS = 2
NO_JSON = b"no json"
READ_BY_WORKERS = (SEMANTIC_IDS, ITEM_STATES, USER_STATES, UPLOAD_STATES, ITEM_SIGNALS, CHECKPOINTS, FORGOTTEN_USERS)
"""Topics that only sidestream writes, of which a worker counts what is foreign."""
READ_BY_THE_TRAINER = (SEMANTIC_IDS, ITEM_STATES, CHECKPOINTS, RANKING_EXAMPLES, FORGOTTEN_USERS)


class System:
    """A worker on topics of its own, and a producer that knows nothing of sidestream."""

    def __init__(self, cluster: EmbeddedCluster, folder: Path) -> None:
        name = f"poison-{uuid.uuid4().hex[:8]}"
        kafka = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": f"{name}.", "group": name}
        kafka |= {"partitions": PARTITIONS, "session_timeout_s": 6.0, "heartbeat_s": 0.5}
        serving = {"explore_share": 0.0, "impression_sample": 1.0, "live_sample": 1.0}
        tables = {"kafka": kafka, "serving": serving, "data_dir": str(folder / "trainer")}
        self.settings: Settings = settings_from(tables)
        create_topics(self.settings)
        self.worker = WorkerProcess(self.settings, folder / "worker")
        self.producer = confluent_kafka.Producer(
            {"bootstrap.servers": cluster.bootstrap_servers, "partitioner": "murmur2_random"}
        )
        self.known: dict[str, list[Any]] = {CHECKPOINTS: CHECKPOINT_SAMPLES}
        self.publisher = Publisher(settings=self.settings, framing=None)
        self.rounds = 0

    def live_through_a_round(self) -> None:
        """Everything that is offered: an upload is recommended, an engagement counted, a request answered."""
        number = self.rounds + 1
        item_id, user_id, now = f"item-{number}", f"user-{number}", time.time()
        self.publisher.upload({"item_id": item_id, "uploaded_at": now, "title": f"Part {number} of a film"})
        self.publisher.profile({"user_id": user_id, "updated_at": now, "attributes": {"country": "NL"}})
        self._await(lambda: self.get(f"/v1/items/{item_id}").get("live"), f"{item_id} is live")
        event = {"event_id": uuid.uuid4().hex, "user_id": user_id, "item_id": item_id, "kind": "click"}
        self.publisher.engagement({**event, "occurred_at": now})
        request = json.dumps({"user_id": user_id, "request_id": item_id}).encode()
        self.publisher.send(RECOMMEND_REQUESTS, user_id, request).result()
        counted = lambda: self.get(f"/v1/items/{item_id}").get("counters") == {"click": 1}  # noqa: E731
        self._await(counted, f"the click on {item_id} is counted")
        self._await(lambda: self.get(f"/v1/users/{user_id}").get("history"), f"{user_id} has a history")
        self._await(lambda: self.get(f"/v1/users/{user_id}").get("attributes"), f"{user_id} has a profile")
        answered = lambda: any(item_id.encode() in (r.value or b"") for r in self.read(RECOMMENDATIONS))  # noqa: E731
        self._await(answered, f"the request {item_id} is answered")
        shown = self.get("/v1/recommend", user_id="newcomer", k=100)["items"]
        assert item_id in [each["item_id"] for each in shown]
        self.rounds = number

    def get(self, path: str, **query: Any) -> Any:
        return httpx.get(f"{self.worker.url}{path}", params=query, timeout=30).json()

    def read(self, topic: str) -> list[Any]:
        return read_topic(self.settings, topic)

    def samples(self, topic: str) -> list[Any]:
        """Records that the topic really held before there was poison, one of each sort."""
        if topic in self.known:
            return self.known[topic]
        records = [each for each in self.read(topic) if each.value and each.key and each.value != NO_JSON]
        by_value = topic == RANKING_EXAMPLES
        sorts = {each.value[:9] if by_value else each.key[:1]: each for each in records}
        assert sorts, f"{topic} holds nothing"
        return self.known.setdefault(topic, list(sorts.values())[:6])

    def put(self, topic: str) -> int:
        """Poison on a topic; returns how many records."""
        partitions = 1 if topic == CHECKPOINTS else PARTITIONS
        count = 0
        for each in poison(topic, self.samples(topic), partitions):
            where = each.partition if topic != CHECKPOINTS else 0
            full = self.settings.topic(topic)
            self.producer.produce(full, each.value, each.key, -1 if where is None else where, headers=[*each.headers])
            count += 1
        assert self.producer.flush(30) == 0
        return count

    def foreign(self) -> dict[str, float]:
        """What the worker has counted, by topic."""
        lines = httpx.get(f"{self.worker.url}/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("sidestream_foreign_records_total{")]
        return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in found}

    def _await(self, true: Any, what: str) -> None:
        def looked() -> bool:
            process = self.worker.process
            assert process is not None
            if process.poll() is not None:
                raise AssertionError(f"the worker ended before {what}: {self.worker.log.read_text()[-3000:]}")
            return bool(true())

        try:
            eventually(looked, 30)
        except AssertionError as error:
            raise AssertionError(f"not true that {what} ({error}): {self.worker.log.read_text()[-2000:]}") from None


def _sample(key: bytes, record: Any) -> SimpleNamespace:
    return SimpleNamespace(key=key, value=msgspec.json.encode(record), headers=[], partition=0)


CHECKPOINT_SAMPLES = [
    _sample(
        CHECKPOINT_KEY,
        CheckpointRecord(
            checkpoint="20200101T000000-0001",
            parent=None,
            location="/nowhere/20200101T000000-0001",
            verdict="passed",
            published_at=1.6e9,
        ),
    ),
    _sample(RUN_KEY, RunRecord(run="drift-1", state="started", at=1.6e9)),
    _sample(RANKER_KEY, RankerRecord(ranker="500", location="/nowhere/ranker-1.txt", published_at=1.6e9)),
]


@pytest.fixture(scope="module")
def system(embedded_broker: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(embedded_broker, tmp_path_factory.mktemp("poison"))
    system.worker.start()
    system.worker.await_ready()
    system.live_through_a_round()
    system.producer.produce(system.settings.topic(ENGAGEMENTS), NO_JSON, b"user-1")
    system.producer.flush(10)
    system.publisher.profile({"user_id": "forgotten", "updated_at": time.time(), "attributes": {}})
    system.publisher.forget("forgotten")
    for number in range(4):  # what ranking examples are made of
        for user in range(3):
            event = {"event_id": uuid.uuid4().hex, "user_id": f"fan-{user}", "item_id": "item-1", "kind": "click"}
            system.publisher.engagement({**event, "occurred_at": time.time()})
        system.get("/v1/recommend", user_id=f"fan-{number}")
    for topic in (DEAD_LETTERS, FORGOTTEN_USERS, RANKING_EXAMPLES, UPLOAD_STATES, USER_STATES):
        eventually(lambda topic=topic: system.read(topic))
    system.publisher.send(RECOMMEND_REQUESTS, "user-1", b'{"user_id": "user-1", "k": 3}').result()
    for topic in TOPIC_NAMES:
        system.samples(topic)
    yield system
    system.publisher.close()
    if system.worker.process is not None and system.worker.process.poll() is None:
        assert system.worker.stop() == 0


@pytest.mark.parametrize("topic", TOPIC_NAMES)
def test_a_foreign_record_on_any_topic_stops_nothing_at_work(system: System, topic: str) -> None:
    if system.worker.process is None or system.worker.process.poll() is not None:
        system.worker.start()
        system.worker.await_ready()
    before = system.foreign().get(topic, 0.0)
    count = system.put(topic)
    system.live_through_a_round()
    if topic in READ_BY_WORKERS and topic not in (USER_STATES, UPLOAD_STATES):  # these are read when a worker starts
        eventually(lambda: system.foreign()[topic] > before + count / 4, 30)
        lines = [line for line in system.worker.log.read_text().splitlines() if "foreign record" in line]
        assert any(f"{topic}-" in line and " at offset " in line for line in lines)


def test_a_start_on_poisoned_topics_comes_back_with_all_that_was_known(system: System) -> None:
    """With its disk, and without: then rows come from the state topics, the poison among them."""
    for name in ("kept", "wiped"):
        system.worker.kill()
        for topic in TOPIC_NAMES:
            system.put(topic)
        if name == "wiped":
            system.worker = WorkerProcess(system.settings, system.worker.folder.parent / name)
        system.worker.start()
        system.worker.await_ready()
        for number in range(1, system.rounds + 1):
            found = eventually(lambda number=number: system.get(f"/v1/items/item-{number}"), 30)
            assert found["live"], (name, number)
            assert found["counters"].get("click", 0) >= 1, (name, number)
            history = system.get(f"/v1/users/user-{number}")["history"]
            assert [each["item_id"] for each in history] == [f"item-{number}"], (name, number)
        system.live_through_a_round()
    foreign = system.foreign()
    assert all(foreign[topic] > 0 for topic in READ_BY_WORKERS), foreign


def test_the_trainers_readers_pass_over_what_is_foreign_and_count_it(system: System) -> None:
    counted: dict[str, int] = {}
    foreign = ForeignRecords(lambda topic: counted.update({topic: counted.get(topic, 0) + 1}))
    with Log(system.settings.kafka, foreign=foreign) as log:
        run_log = RunLog(system.settings, log)
        run_log.follow()
        run_log.follow()
        window = read_window(log, system.settings, {}, time.time())
        assert {f"item-{number}" for number in range(1, system.rounds + 1)} <= window.items.keys()
        assert sum(one.event.item_id.startswith("item-") for one in window.engagements) >= system.rounds
        assert all(len(vector) == system.settings.vectors.width for vector in window.vectors.values())
        assert NewEngagements(log, system.settings).count({}, time.time()) > 0
        assert CodebookDrift(log, system.settings).due(zero_codebook(system.settings)) == ""
    job = RankerJob(system.settings, foreign=foreign)
    for _ in range(50):
        job.poll(time.time())
    assert job.learner.feedback.acts or job.recent_examples()
    job.learner.refit()
    job.close()
    assert all(counted.get(topic, 0) > 0 for topic in READ_BY_THE_TRAINER), counted


def test_dead_letters_are_read_past_what_is_none(system: System) -> None:
    passed: list[str] = []
    letters = list(read_letters(system.settings, foreign=ForeignRecords(passed.append)))
    assert any(letter.value == NO_JSON for letter in letters)
    assert passed.count(DEAD_LETTERS) > 10


def test_samples_lie_where_their_keys_belong(system: System) -> None:
    """Else the poison would be of one kind only."""
    for topic in (SEMANTIC_IDS, ITEM_STATES, USER_STATES):
        own = [each for each in system.samples(topic) if not each.key.startswith(b"\0")]
        assert own
        assert all(partition_of(each.key.decode(), PARTITIONS) == each.partition for each in own)


def test_the_table_covers_every_topic() -> None:
    assert {*TOPIC_NAMES} == {
        *(*READ_BY_WORKERS, *READ_BY_THE_TRAINER),
        *(UPLOADS, ENGAGEMENTS, PROFILES, RECOMMEND_REQUESTS, RECOMMENDATIONS, DEAD_LETTERS, ITEM_SIGNALS),
    }
