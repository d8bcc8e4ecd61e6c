"""A running worker, on the embedded broker and on real Kafka: what applications publish and what they are answered."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import httpx
import msgspec
import pytest
from kafka import KafkaProducer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id

from store.keys import partition_of
from store.schemas.wire import registered
from store.settings import Freshness, Settings, settings_from
from stream.cli.data import exported
from stream.client.publisher import Publisher
from stream.kafka.dead_letters import decode
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess, read_topic
from tests.clusters import ON_EMBEDDED
from tests.store.envelopes.wrapped import change, cloud_event
from tests.store.schemas.registry_stub import RegistryStub
from tests.store.schemas.registry_stub import running as registry_running
from tests.store.schemas.test_avro import SCHEMA, written
from tests.stream.tracing.collector import ENGAGEMENT, UPLOAD, Collector, collecting
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)


def settings_on(cluster: Any, *, standby: bool = True, tracing: dict[str, Any] | None = None, **more: Any) -> Settings:
    name = f"worker-{uuid.uuid4().hex[:8]}"
    kafka = {
        "bootstrap_servers": cluster.bootstrap_servers,
        "topic_prefix": f"{name}.",
        "group": name,
        "partitions": 2,
        "session_timeout_s": 6.0,
        "heartbeat_s": 0.5,
        **more,
    }
    serving = {"explore_share": 0.0, "standby": standby}
    settings = settings_from({"kafka": kafka, "serving": serving, "tracing": tracing or {}})
    create_topics(settings)
    return settings


class Running:
    """A worker with its settings and a publisher."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.worker = WorkerProcess(settings, folder)
        self.worker.start()
        self.worker.await_ready()
        self.publisher = Publisher(settings=settings, framing=None)

    def get(self, path: str, **query: Any) -> Any:
        return httpx.get(f"{self.worker.url}{path}", params=query, timeout=30).json()

    def recommended(self, user: str, **query: Any) -> list[str]:
        answer = self.get("/v1/recommend", user_id=user, **query)
        return [item["item_id"] for item in answer["items"]]

    def upload(self, item_id: str, title: str, **fields: Any) -> None:
        self.publisher.upload({"item_id": item_id, "uploaded_at": time.time(), "title": title, **fields})
        self.publisher.flush(10)

    def engage(self, user: str, item_id: str, **fields: Any) -> None:
        event = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": item_id, "kind": "click"}
        self.publisher.engagement({**event, "occurred_at": time.time(), **fields})
        self.publisher.flush(10)

    def letters(self) -> list[Any]:
        partitions = range(self.settings.kafka.partitions)
        return [decode(value) for p in partitions for _, value in read_topic(self.settings, "dead-letters", p) if value]


@pytest.fixture(scope="module")
def registry() -> Iterator[RegistryStub]:
    with registry_running(RegistryStub()) as stub:
        yield stub


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def running(
    cluster: Any,
    registry: RegistryStub,
    collector: tuple[Collector, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    tracing = {"endpoint": collector[1], "sample_share": 1.0}
    settings = settings_on(cluster, tracing=tracing, registry={"url": registry.url})
    running = Running(settings, tmp_path_factory.mktemp("worker"))
    yield running
    running.publisher.close()
    assert running.worker.stop() == 0


def test_an_upload_is_recommended_before_anyone_has_touched_it(running: Running) -> None:
    running.upload("fresh-1", "A quiet film about lighthouses", tags=["drama"])
    eventually(lambda: "fresh-1" in running.recommended("someone", k=50))
    item = running.get("/v1/items/fresh-1")
    assert item["live"] is True
    assert item["title"] == "A quiet film about lighthouses"
    assert item["counters"] == {}
    assert len(item["semantic_id"]) == running.settings.codebook.levels + 1, "codes, and the suffix"
    stages = {stage["stage"]: stage["at"] for stage in running.get("/v1/trace/fresh-1")["stages"]}
    assert stages["published"] <= stages["semantic_id"] <= stages["live"] <= stages["first_recommended"]
    assert stages["first_engaged"] is None


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_uploads_that_another_producer_compressed_are_live_and_what_comes_after_them(
    running: Running, codec: str
) -> None:
    """With codecs whose libraries were missing the worker fell into a loop of crashes that no restart ended."""
    kafka = {"bootstrap.servers": running.settings.kafka.bootstrap_servers, "linger.ms": 100}
    producer = confluent_kafka.Producer({**kafka, "compression.type": codec})
    items = [f"{codec}-{number}" for number in range(20)]
    for item_id in items:
        upload = {"item_id": item_id, "uploaded_at": time.time(), "title": f"pasta carbonara {item_id} " * 5}
        producer.produce(running.settings.topic("uploads"), key=item_id, value=json.dumps(upload))
    assert producer.flush(10) == 0
    running.upload(f"after-{codec}", "Plain")
    for item_id in [*items, f"after-{codec}"]:
        eventually(lambda item_id=item_id: running.get(f"/v1/items/{item_id}").get("live"))


@ON_EMBEDDED
def test_what_other_systems_wrap_is_recommended_counted_and_taken_down(running: Running) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": running.settings.kafka.bootstrap_servers})

    def send(topic: str, key: str, value: bytes | None, **headers: str) -> None:
        producer.produce(running.settings.topic(topic), key=key, value=value, headers=headers)
        assert producer.flush(10) == 0

    row = {"item_id": "row-1", "uploaded_at": int(time.time() * 1000), "title": "A row of a table"}
    send("uploads", '{"item_id":"row-1"}', change(row))
    send("uploads", "ce-1", cloud_event({"item_id": "ce-1", "title": "Structured"}, time="2026-01-02T03:04:05Z"))
    plain = json.dumps({"item_id": "ce-2", "uploaded_at": time.time(), "title": "Binary"}).encode()
    send("uploads", "ce-2", plain, ce_specversion="1.0", ce_id="8", ce_source="/shop", ce_type="item")
    for item_id in ("row-1", "ce-1", "ce-2"):
        eventually(lambda item_id=item_id: running.get(f"/v1/items/{item_id}").get("live"))
    act = {"user_id": "wrapped", "item_id": "ce-1", "kind": "like", "occurred_at": time.time()}
    send("engagements", "wrapped", cloud_event(act))
    send("engagements", "wrapped", change({**act, "event_id": "of-row", "occurred_at": int(time.time() * 1e6)}))
    send("engagements", "wrapped", change(None, "d", before={**act, "event_id": "of-row"}))
    eventually(lambda: len(running.get("/v1/users/wrapped")["history"]) == 2)
    send("uploads", '{"item_id":"row-1"}', change(None, "d", before=row))
    send("uploads", '{"item_id":"row-1"}', None)
    eventually(lambda: not running.get("/v1/items/row-1").get("live"))
    letters = eventually(lambda: [each for each in running.letters() if b"of-row" in (each.value or b"")])

    def likes() -> dict[str, int]:
        return {row["item_id"]: row["like"] for row in exported.items(running.settings)}

    eventually(lambda: likes().get("ce-1") == 2)
    assert "row-1" not in likes()
    kept = lambda: {row["user_id"]: row["kept_engagements"] for row in exported.users(running.settings)}  # noqa: E731
    eventually(lambda: kept().get("wrapped") == 2)
    assert [(each.reason, each.topic) for each in letters] == [("not_an_event", running.settings.topic("engagements"))]


@ON_EMBEDDED
def test_records_with_a_schema_wait_for_their_registry_and_count(running: Running, registry: RegistryStub) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": running.settings.kafka.bootstrap_servers})

    def send(topic: str, key: str, value: bytes) -> None:
        producer.produce(running.settings.topic(topic), key=key, value=value)
        assert producer.flush(10) == 0

    avro, by_json = registry.add(SCHEMA), registry.add({"type": "object"}, "JSON")
    registry.status, asked = 503, len(registry.asked)
    upload = {"item_id": "avro-1", "uploaded_at": int(time.time() * 1000), "title": "By a schema", "tags": []}
    send("uploads", "avro-1", registered(avro, written(SCHEMA, upload)))
    eventually(lambda: len(registry.asked) >= asked + 2)
    send("uploads", "avro-2", registered(avro, written(SCHEMA, {**upload, "item_id": "avro-2"})))
    assert "error" in running.get("/v1/items/avro-1")
    assert running.worker.process is not None
    assert running.worker.process.poll() is None
    registry.status = 0
    for item_id in ("avro-1", "avro-2"):
        eventually(lambda item_id=item_id: running.get(f"/v1/items/{item_id}").get("live"))
    act = {"event_id": "s", "user_id": "by-schema", "item_id": "avro-1", "kind": "like", "occurred_at": time.time()}
    send("engagements", "by-schema", registered(999, b"x"))
    send("engagements", "by-schema", registered(by_json, json.dumps(act).encode()))
    eventually(lambda: running.get("/v1/users/by-schema").get("history"))
    letters = eventually(lambda: [each for each in running.letters() if each.reason == "unknown_schema"])
    assert [each.value for each in letters] == [registered(999, b"x")]


def test_a_click_changes_the_order_and_is_counted_once(running: Running) -> None:
    for number in range(8):
        running.upload(f"film-{number}", f"{'Space' if number % 2 else 'Garden'} story part {number}")
    eventually(lambda: set(running.recommended("clicker", k=50)) >= {f"film-{number}" for number in range(8)})
    for user in ("walker-1", "walker-2", "walker-3"):
        running.engage(user, "film-1")
        running.engage(user, "film-6")
    running.engage("clicker", "film-1", event_id="the-one-click")
    running.engage("clicker", "film-1", event_id="the-one-click")
    eventually(lambda: running.get("/v1/items/film-1").get("counters", {}).get("click") == 4)
    after = running.recommended("clicker", k=50)
    assert "film-1" not in after
    assert after[0] == "film-6"
    history = running.get("/v1/users/clicker")["history"]
    assert [entry["event_id"] for entry in history] == ["the-one-click"]


def test_a_tombstone_takes_an_item_down_for_good(running: Running) -> None:
    running.upload("doomed", "Soon gone")
    eventually(lambda: "doomed" in running.recommended("someone", k=100))
    running.publisher.take_down("doomed")
    running.publisher.flush(10)
    eventually(lambda: not running.get("/v1/items/doomed").get("live"))
    assert "doomed" not in running.recommended("someone", k=100)
    assert "doomed" not in running.recommended("someone", task="similar", item_id="film-1", k=100)


def test_an_engagement_that_comes_before_its_upload_counts_when_that_comes(running: Running) -> None:
    running.engage("early-bird", "late-film")
    eventually(lambda: running.get("/v1/users/early-bird").get("history"))
    running.upload("late-film", "Better late")
    eventually(lambda: (running.get("/v1/items/late-film")).get("live"))
    eventually(lambda: running.get("/v1/items/late-film").get("counters") == {"click": 1})


def test_bad_input_goes_to_the_dead_letters_with_its_reason_and_harms_nothing(running: Running) -> None:
    good = {"event_id": "good", "user_id": "patient", "item_id": "film-1", "kind": "click", "occurred_at": time.time()}
    bad = {
        "not_json": b'{"event_id": ',
        "missing_field": json.dumps({"event_id": "x", "user_id": "patient"}).encode(),
        "wrong_type": json.dumps({**good, "occurred_at": "yesterday"}).encode(),
        "not_finite": b'{"event_id":"n","user_id":"patient","item_id":"film-1","kind":"click","occurred_at":NaN}',
        "unknown_kind": json.dumps({**good, "kind": "sneeze"}).encode(),
        "future_time": json.dumps({**good, "occurred_at": time.time() * 1000}).encode(),
        "not_an_event": b"[1, 2, 3]",
        "oversized": json.dumps({**good, "query": "q" * (5 << 20)}).encode(),
    }
    before = {letter.offset for letter in running.letters()}
    producer = KafkaProducer(bootstrap_servers=running.settings.kafka.bootstrap_servers, max_request_size=16 << 20)
    topic = running.settings.topic("engagements")
    for value in bad.values():
        producer.send(topic, value, key=b"patient")
    mixed = b'{"events":[' + b",".join([json.dumps(good).encode(), bad["unknown_kind"]]) + b"]}"
    producer.send(topic, mixed, key=b"patient")
    producer.flush(20)
    producer.close()
    letters = eventually(lambda: len(found := running.letters()) >= len(before) + len(bad) + 1 and found)
    reasons = [letter.reason for letter in letters]
    assert set(reasons) >= set(bad)
    assert reasons.count("unknown_kind") == 2
    assert next(letter for letter in letters if letter.reason == "oversized").value == bad["oversized"]
    eventually(lambda: [e["event_id"] for e in running.get("/v1/users/patient")["history"]] == ["good"])
    text = httpx.get(f"{running.worker.url}/metrics").text
    assert 'sidestream_dead_letters_total{reason="oversized"} 1.0' in text


def test_an_event_in_a_foreign_partition_is_sent_home(running: Running) -> None:
    settings = running.settings
    home = partition_of("stray", settings.kafka.partitions)
    event = {"event_id": "s", "user_id": "stray", "item_id": "film-2", "kind": "like", "occurred_at": time.time()}
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    value = json.dumps({**event, "extra": "kept"}).encode()
    producer.send(settings.topic("engagements"), value, partition=1 - home)
    producer.close()
    eventually(lambda: (running.get("/v1/users/stray").get("history") or [{}])[0].get("event_id") == "s")
    assert value in [found for _, found in read_topic(settings, "engagements", home)]


def test_a_request_over_kafka_is_answered_over_kafka(running: Running) -> None:
    wanted = {"user_id": "by-mail", "task": "home", "k": 3, "request_id": "letter-1"}
    running.publisher.send("recommend-requests", "by-mail", json.dumps(wanted).encode()).result()
    running.publisher.send("recommend-requests", "by-mail", b'{"user_id": "by-mail", "k": 100000}').result()

    def answers() -> list[dict[str, Any]]:
        partitions = range(running.settings.kafka.partitions)
        return [json.loads(v) for p in partitions for _, v in read_topic(running.settings, "recommendations", p) if v]

    assert [answer["request_id"] for answer in eventually(answers)] == ["letter-1"]
    assert any(letter.topic.endswith("recommend-requests") for letter in eventually(running.letters))


@ON_EMBEDDED
def test_what_is_published_in_a_span_is_one_trace_to_where_it_is_seen(
    running: Running, collector: tuple[Collector, str]
) -> None:
    tracer, seen = TracerProvider().get_tracer("application"), collector[0]
    with tracer.start_as_current_span("request") as first:
        running.upload("traced", "Traced roses")
    eventually(lambda: running.get("/v1/items/traced").get("live"))
    with tracer.start_as_current_span("request") as second:
        running.engage("tracer", "traced")
    uploaded = seen.chain(format_trace_id(first.get_span_context().trace_id), *UPLOAD)
    engaged = seen.chain(format_trace_id(second.get_span_context().trace_id), *ENGAGEMENT)
    for spans, caller in ((uploaded, first), (engaged, second)):
        assert spans[0].parent_id == format_span_id(caller.get_span_context().span_id)
        assert len({span.resource["service.instance.id"] for span in spans}) == 2, "the publisher's process and another"
        assert spans[-1].attributes["sidestream.item_id"] == "traced"
        assert not any(value == "tracer" for span in spans for value in span.attributes.values()), "a user is named"


@ON_EMBEDDED
def test_a_request_is_a_part_of_the_trace_that_it_names(running: Running, collector: tuple[Collector, str]) -> None:
    headers = {"traceparent": f"00-{8:032x}-{9:016x}-01"}
    answer = httpx.get(f"{running.worker.url}/v1/recommend", params={"user_id": "u"}, headers=headers, timeout=30)
    assert answer.status_code == 200
    [span] = collector[0].chain(f"{8:032x}", "GET /v1/recommend")
    assert (span.parent_id, span.attributes["http.response.status_code"]) == (f"{9:016x}", 200)


@ON_EMBEDDED
def test_a_trace_that_another_client_names_is_gone_on_with_also_from_a_foreign_partition(
    running: Running, collector: tuple[Collector, str]
) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": running.settings.kafka.bootstrap_servers})
    partition = 1 - partition_of("foreign-trace", 2)
    for item_id, traceparent in (("foreign-trace", f"00-{7:032x}-{9:016x}-01"), ("no-trace", "00-soon")):
        value = json.dumps({"item_id": item_id, "uploaded_at": time.time(), "title": "Foreign roses"})
        headers = [("traceparent", traceparent.encode())]
        producer.produce(
            running.settings.topic("uploads"), key=item_id, value=value, partition=partition, headers=headers
        )
    assert producer.flush(10) == 0
    received, *_ = collector[0].chain(f"{7:032x}", *UPLOAD[1:])
    assert received.parent_id == f"{9:016x}"
    assert received.attributes["messaging.destination.partition.id"] == str(1 - partition)
    eventually(lambda: running.get("/v1/items/no-trace").get("live"))
    counted = httpx.get(f"{running.worker.url}/metrics").text
    assert "sidestream_malformed_traceparents_total 1.0" in counted


def test_a_forgotten_user_is_forgotten(running: Running) -> None:
    running.publisher.profile({"user_id": "shy", "updated_at": time.time(), "attributes": {"country": "NL"}})
    running.engage("shy", "film-3")
    eventually(lambda: running.get("/v1/users/shy").get("history"))
    eventually(lambda: running.get("/v1/users/shy").get("attributes") == {"country": "NL"})
    running.publisher.forget("shy")
    running.publisher.flush(10)
    eventually(lambda: "error" in running.get("/v1/users/shy"))


@pytest.mark.long
@ON_EMBEDDED
def test_a_worker_gives_up_on_a_registry_that_stays_away_and_loses_nothing(
    cluster: Any, registry: RegistryStub, tmp_path: Path
) -> None:
    """While it waits it is not well: its canaries do not come through."""
    settings = settings_on(cluster, registry={"url": registry.url, "wait_s": 30.0}, partitions=1)
    settings = msgspec.structs.replace(settings, freshness=Freshness(canary_s=1.0))
    running = Running(settings, tmp_path / "worker")
    eventually(lambda: running.get("/v1/status")["verdict"] != "missed")
    registry.status = 503
    upload = {"item_id": "kept", "uploaded_at": int(time.time() * 1000), "title": "Kept", "tags": []}
    value = registered(registry.add(SCHEMA), written(SCHEMA, upload))
    running.publisher.send("uploads", "kept", value)
    running.publisher.flush(10)
    try:
        eventually(lambda: running.get("/v1/status")["verdict"] == "missed")
        assert running.worker.process is not None
        assert eventually(running.worker.process.poll) == 1
        assert "(kafka.registry.wait_s); nothing is lost" in running.worker.log.read_text()
    finally:
        registry.status = 0
        running.publisher.close()
    running.worker.start()
    running.worker.await_ready()
    eventually(lambda: running.get("/v1/items/kept").get("live"))
    assert running.letters() == []
    assert running.worker.stop() == 0


@pytest.mark.long  # test_worker_peers has two workers, too
@ON_EMBEDDED
def test_a_worker_asked_for_anothers_user_forwards_once(cluster: Any, tmp_path: Path) -> None:
    """Without copies: with them see `test_worker_peers`."""
    settings = settings_on(cluster, standby=False)
    first = Running(settings, tmp_path / "first")
    second = WorkerProcess(settings, tmp_path / "second")
    second.start()
    try:
        second.await_ready()
        eventually(lambda: httpx.get(f"{second.url}/v1/status").json()["partitions"] == 4)
        eventually(lambda: first.get("/v1/status")["partitions"] == 4)
        users = [f"user-{number}" for number in range(6)]
        for user in users:
            first.engage(user, "some-item")
        for url in (first.worker.url, second.url):
            for user in users:
                found = eventually(lambda u=user, a=url: httpx.get(f"{a}/v1/users/{u}").json().get("history"))
                assert len(found) == 1
                answer = httpx.get(f"{url}/v1/recommend", params={"user_id": user}).json()
                assert answer["degraded"] is False
        second.kill()
        away = [user for user in users if first.get("/v1/recommend", user_id=user)["degraded"]]
        assert away
    finally:
        first.publisher.close()
        first.worker.kill()
        if second.process is not None and second.process.poll() is None:
            second.kill()


def test_clients_that_know_nothing_of_us_publish_and_ask(running: Running) -> None:
    """librdkafka hashes keys with CRC32 unless told otherwise, so half of this lands in a wrong partition."""
    now = time.time()
    servers, topic = running.settings.kafka.bootstrap_servers, running.settings.topic
    producer = confluent_kafka.Producer({"bootstrap.servers": servers})
    for number in range(6):
        upload = {"item_id": f"foreign-{number}", "uploaded_at": now, "title": f"Foreign part {number}"}
        producer.produce(topic("uploads"), json.dumps(upload).encode(), key=upload["item_id"].encode())
    assert producer.flush(20) == 0
    events = [
        {
            "event_id": f"f-{u}-{i}",
            "user_id": f"guest-{u}",
            "item_id": f"foreign-{i}",
            "kind": "watch",
            "occurred_at": now,
        }
        for u in range(4)
        for i in range(2)
    ]
    lines = "".join(f"{event['user_id']}|{json.dumps({**event, 'occurred_at': now})}\n" for event in events)
    kcat = shutil.which("kcat") or shutil.which("kafkacat")
    if kcat:
        command = [kcat, "-P", "-b", servers, "-t", topic("engagements"), "-K|"]
        subprocess.run(command, input=lines.encode(), check=True, timeout=30)
    else:
        for event in events:
            producer.produce(
                topic("engagements"), json.dumps({**event, "occurred_at": now}).encode(), key=event["user_id"].encode()
            )
        producer.flush(20)
    eventually(lambda: running.get("/v1/items/foreign-1").get("counters") == {"watch": 4})
    assert "foreign-1" in running.recommended("newcomer", k=50)
    assert "foreign-1" not in running.recommended("guest-0", k=50)


@ON_EMBEDDED
def test_a_person_on_call_sees_who_owns_what_and_publishes_letters_again(running: Running) -> None:
    url = running.worker.url
    running.upload("desk-item", "Bread for people on call")
    eventually(lambda: running.get("/console/topics")["items"] >= 1, 30)
    eventually(lambda: all(each["url"] == url for each in running.get("/console/owners")["partitions"]), 30)
    assert [each["ready"] for each in running.get("/console/owners")["workers"]] == [True]
    assert running.get("/console/lineage")["serving"] is None
    lever = {"action": "promote", "checkpoint": "never", "serving": None}
    assert httpx.post(f"{url}/console/checkpoints", json=lever, timeout=30).status_code == 409
    running.publisher.send("engagements", "desk-user", b'{"user_id": "desk-user", "kind": "yodel"}')
    running.publisher.flush(10)

    def letters() -> list[Any]:
        said = running.get("/console/dead-letters")
        return [letter for letter in said["letters"] if "desk-user" in letter["text"]]

    eventually(lambda: len(letters()) == 1, 30)
    (letter,) = letters()
    places = {"letters": [[letter["partition"], letter["offset"]]]}
    assert httpx.post(f"{url}/console/dead-letters", json=places, timeout=30).json() == {"sent": 1, "left": 0}
    eventually(lambda: sorted(each["replayed"] for each in letters()) == [False, True], 30)
    assert len(running.get("/v1/history")["at"]) >= 1
