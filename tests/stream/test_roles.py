"""Workers of different roles as processes: one absorbs, another answers, over HTTPS with tokens."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from store.settings import RoleName, Settings, settings_from
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess, read_topic
from tests.clusters import ON_EMBEDDED
from tests.secured import make_certificates
from tests.waiting import eventually

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

USERS = [f"user-{number}" for number in range(6)]
TOKENS = {"read": "reads", "write": "writes", "operate": "operates"}
AS_OPERATOR = {"Authorization": "Bearer operates"}


def settings_on(cluster: Any, folder: Path, **kafka: Any) -> Settings:
    certificates = make_certificates(folder / "certificates")
    name = f"roles-{uuid.uuid4().hex[:8]}"
    places = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": f"{name}.", "group": name}
    tls = {"certificate_file": str(certificates.broker), "ca_file": str(certificates.ca)}
    tasks = {"notification": {"most_per_day": 1}}
    settings = settings_from(
        {
            "kafka": {**places, "partitions": 2, "session_timeout_s": 6.0, "heartbeat_s": 0.5, **kafka},
            "serving": {"explore_share": 0.0, "tls": tls, "tokens": TOKENS, "tasks": tasks, "impression_sample": 1.0},
        }
    )
    create_topics(settings)
    return settings


def worker_of(settings: Settings, role: RoleName, folder: Path) -> WorkerProcess:
    return WorkerProcess(msgspec.structs.replace(settings, role=role), folder)


class Pair:
    """One worker that absorbs and two that answer."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.ingest = worker_of(settings, "ingest", folder / "ingest")
        self.serving = [worker_of(settings, "serve", folder / f"serve-{number}") for number in range(2)]
        self.workers = [self.ingest, *self.serving]
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.await_ready()
        self.publisher = Publisher(settings=settings, framing=None)

    def upload(self, *items: str) -> None:
        for item in items:
            self.publisher.upload({"item_id": item, "uploaded_at": time.time(), "title": f"Item {item}"})
        self.publisher.flush(10)

    def engage(self, user: str, item: str, kind: str = "click", **more: Any) -> None:
        event = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": item, "kind": kind}
        self.publisher.engagement({**event, "occurred_at": time.time(), **more})
        self.publisher.flush(10)

    def stop(self) -> None:
        self.publisher.close()
        for worker in self.workers:
            assert worker.stop() == 0, worker.log.read_text()[-3000:]


@pytest.fixture(scope="module")
def pair(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("roles")
    pair = Pair(settings_on(cluster, folder), folder)
    yield pair
    pair.stop()


def get(worker: WorkerProcess, path: str, **query: Any) -> Any:
    return httpx.get(f"{worker.url}{path}", params=query, timeout=10.0, verify=worker.trusted, headers=AS_OPERATOR)


def shown(worker: WorkerProcess, user: str, **query: Any) -> set[str]:
    answer = get(worker, "/v1/recommend", user_id=user, **query).json()
    assert not answer["degraded"], answer
    return {item["item_id"] for item in answer["items"]}


@ON_EMBEDDED
def test_what_one_absorbs_another_answers_with(pair: Pair) -> None:
    pair.upload("i0", "i1", "i2")
    for worker in pair.serving:
        eventually(lambda w=worker: shown(w, "nobody") == {"i0", "i1", "i2"})
    for user in USERS:
        pair.engage(user, "i0", "hide")
    for worker in pair.serving:
        eventually(lambda w=worker: all(shown(w, user) == {"i1", "i2"} for user in USERS))
        assert get(worker, f"/v1/users/{USERS[0]}").json()["history"][-1]["kind"] == "hide"
        eventually(lambda w=worker: sum(get(w, "/v1/items/i0").json()["counters"].values()) == len(USERS))


@ON_EMBEDDED
def test_who_absorbs_says_so_and_answers_nothing(pair: Pair) -> None:
    asked = get(pair.ingest, "/v1/recommend", user_id="u")
    assert asked.status_code == 501
    assert "role" in asked.json()["error"]["remedy"]
    assert get(pair.ingest, "/").status_code == 404
    status = get(pair.ingest, "/v1/status").json()
    assert status["role"] == "ingest"
    assert [stage["stage"] for stage in status["stages"]] == ["upload_to_semantic_id"]
    eventually(lambda: len(get(pair.ingest, "/v1/status").json()["answered_by"]) == 2)
    eventually(lambda: get(pair.ingest, "/v1/status").json()["verdict"] == "met")
    for worker in pair.serving:
        told = get(worker, "/v1/status").json()
        assert (told["role"], told["partitions"]) == ("serve", 0)
        eventually(lambda w=worker: get(w, "/v1/status").json()["verdict"] != "missed")


@ON_EMBEDDED
def test_a_user_is_bounded_and_attributed_whoever_answers(pair: Pair) -> None:
    pair.upload("n0", "n1")
    first, second = pair.serving
    eventually(lambda: {"n0", "n1"} <= shown(first, "bounded", k=50))
    answer = get(first, "/v1/recommend", user_id="bounded", task="notification").json()
    assert answer["items"]
    eventually(lambda: not get(second, "/v1/recommend", user_id="bounded", task="notification").json()["items"])
    clicked = get(first, "/v1/recommend", user_id="clicks").json()["items"][0]["item_id"]
    time.sleep(0.5)  # the owner has heard of it
    pair.engage("clicks", clicked)
    eventually(lambda: get(first, "/v1/status").json()["exploration"]["hits"] >= 1)
    assert get(second, "/v1/status").json()["exploration"]["hits"] == 0


@ON_EMBEDDED
def test_a_request_over_kafka_is_answered_once(pair: Pair) -> None:
    import confluent_kafka

    producer = confluent_kafka.Producer({"bootstrap.servers": pair.settings.kafka.bootstrap_servers})
    value = msgspec.json.encode({"user_id": "over-kafka", "request_id": "mine"})
    producer.produce(pair.settings.topic("recommend-requests"), value, key=b"k")
    assert producer.flush(10) == 0

    def answers() -> list[Any]:
        found = [v for number in range(2) for _, v in read_topic(pair.settings, "recommendations", number) if v]
        return [msgspec.json.decode(value) for value in found]

    eventually(lambda: len(answers()) == 1)
    assert answers()[0]["request_id"] == "mine"
    assert answers()[0]["items"]


@ON_EMBEDDED
def test_one_that_does_both_answers_for_the_users_of_one_that_absorbs(cluster: Any, tmp_path: Path) -> None:
    """On the way from `all` to roles; each of the two has one of two partitions."""
    settings = settings_on(cluster, tmp_path)
    workers = [worker_of(settings, role, tmp_path / role) for role in ("all", "ingest")]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            eventually(lambda w=worker: _partitions(w) == 4)
        with Publisher(settings=settings, framing=None) as publisher:
            for number in range(3):
                publisher.upload({"item_id": f"i{number}", "uploaded_at": time.time(), "title": f"Item {number}"})
            eventually(lambda: len(shown(workers[0], "nobody")) == 3)
            for user in USERS:
                event = {"event_id": user, "user_id": user, "item_id": "i0", "kind": "hide"}
                publisher.engagement({**event, "occurred_at": time.time()})
        eventually(lambda: all(shown(workers[0], user) == {"i1", "i2"} for user in USERS))
        ask = {"user_id": "bounded", "task": "notification"}
        assert get(workers[0], "/v1/recommend", **ask).json()["items"]
        assert not get(workers[0], "/v1/recommend", **ask).json()["items"]
    finally:
        for worker in workers:
            worker.remove()


@ON_EMBEDDED
def test_one_that_stands_by_takes_over(cluster: Any, tmp_path: Path) -> None:
    settings = settings_on(cluster, tmp_path, partitions=1)
    absorbing = [worker_of(settings, "ingest", tmp_path / f"ingest-{number}") for number in range(2)]
    serving = worker_of(settings, "serve", tmp_path / "serve")
    workers = [*absorbing, serving]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.await_ready()
        with Publisher(settings=settings, framing=None) as publisher:
            for number in range(3):
                publisher.upload({"item_id": f"i{number}", "uploaded_at": time.time(), "title": f"Item {number}"})
            eventually(lambda: len(shown(serving, "u")) == 3)
            next(worker for worker in absorbing if _partitions(worker)).kill()
            killed_at = time.monotonic()
            event = {"event_id": "e", "user_id": "u", "item_id": "i0", "kind": "hide", "occurred_at": time.time()}
            publisher.engagement(event)
        eventually(lambda: _hidden(serving, "u", "i0"))
        print(f"visible {time.monotonic() - killed_at:.1f} s after the kill")  # `bench.takeover` has the figures
    finally:
        for worker in workers:
            worker.remove()


def _partitions(worker: WorkerProcess) -> int:
    try:
        return int(get(worker, "/v1/status").json()["partitions"])
    except httpx.HTTPError:
        return 0


def _hidden(worker: WorkerProcess, user: str, item: str) -> bool:
    """Whether an answer of the owner's own row lacks the item: one by a copy is of before."""
    answer = get(worker, "/v1/recommend", user_id=user).json()
    by_copy = "copy" in {note["reason"] for note in answer["notes"]}
    return not answer["degraded"] and not by_copy and item not in {one["item_id"] for one in answer["items"]}
