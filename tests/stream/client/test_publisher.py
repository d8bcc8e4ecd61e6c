"""The publisher against real brokers: frames, keys, reports, back-pressure, and every error it documents."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka.partitioner import murmur2

from sidestream import Publisher
from store.events import Engagement, Profile, Upload
from store.keys import partition_of
from store.settings import Settings
from stream.client.admission import InvalidEventError, admit
from stream.kafka.connections import BrokerUnavailableError
from stream.kafka.deliveries import Delivery, DeliveryError, Framing, PublishTimeoutError
from stream.kafka.topics import TopicsError, create_topics
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream.log import events_of, read_topic, settings_on

NOBODY = "127.0.0.1:1"


def engagement(number: int, **more: Any) -> dict[str, Any]:
    who = {"event_id": f"e{number}", "user_id": f"u{number % 37}"}
    return {**who, "item_id": "i", "kind": "click", "occurred_at": 5.0, **more}


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster, request: pytest.FixtureRequest) -> Settings:
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    settings = settings_on(cluster.bootstrap_servers, f"{name}.")
    create_topics(settings)
    return settings


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[tuple[EmbeddedCluster, Settings]]:
    """A broker of its own, to be paused."""
    cluster = EmbeddedCluster(tmp_path)
    cluster.start()
    settings = settings_on(cluster.bootstrap_servers, "own.")
    create_topics(settings)
    yield cluster, settings
    cluster.resume()
    cluster.stop()


def test_engagements_travel_in_frames_and_arrive_in_the_partition_of_their_key(settings: Settings) -> None:
    with Publisher(settings=settings, framing=Framing(events=50, linger_s=5.0)) as publisher:
        deliveries = [publisher.engagement(engagement(number)) for number in range(1000)]
        publisher.flush()
        assert publisher.acknowledged == 1000
        assert all(delivery.done for delivery in deliveries)
    records = read_topic(settings, "engagements")
    assert len(records) <= 1000 / 50 + 4
    assert sorted(event["event_id"] for event in events_of(records)) == sorted(f"e{n}" for n in range(1000))
    for record in records:
        for event in events_of([record]):
            assert partition_of(event["user_id"], 4) == record.partition
        assert partition_of(record.key.decode(), 4) == record.partition
    by_user = [event["event_id"] for event in events_of(records) if event["user_id"] == "u3"]
    assert by_user == sorted(by_user, key=lambda name: int(name[1:])), "the order of a user's events was lost"


def test_a_delivery_says_where_its_record_lies(settings: Settings) -> None:
    reported: list[Delivery] = []
    with Publisher(settings=settings, on_delivery=reported.append) as publisher:
        first = publisher.engagement(engagement(1)).result()
        second = publisher.upload({"item_id": "a", "uploaded_at": 1.0}).result()
    assert (first.offset, first.events, first.topic) == (0, 1, settings.topic("engagements"))
    records = read_topic(settings, "uploads")
    assert [(record.partition, record.offset) for record in records] == [(second.partition, second.offset)]
    assert reported == [first, second]


def test_a_lingering_frame_leaves_without_a_flush(settings: Settings) -> None:
    with Publisher(settings=settings, framing=Framing(events=1000, linger_s=0.02)) as publisher:
        for number in range(3):  # again after idling, so that the waiting thread has to wake
            assert publisher.engagement(engagement(number)).result(timeout_s=5.0).offset >= 0
            time.sleep(0.06)


def test_items_and_people_are_never_framed(settings: Settings) -> None:
    """A compacted topic keeps one record a key: a frame would lose all items but one."""
    with Publisher(settings=settings) as publisher:
        for number in range(20):
            publisher.upload(Upload(item_id=f"i{number}", uploaded_at=1.0, title="t"))
            publisher.profile(Profile(user_id=f"u{number}", updated_at=1.0, attributes={"country": "DE"}))
    for topic, name in (("uploads", "item_id"), ("profiles", "user_id")):
        records = read_topic(settings, topic)
        assert len(records) == 20
        assert all(msgspec.json.decode(record.value)[name] == record.key.decode() for record in records)


def test_tombstones(settings: Settings) -> None:
    with Publisher(settings=settings) as publisher:
        publisher.take_down("i1")
        publisher.forget("u1")
    assert [(r.key, r.value) for r in read_topic(settings, "uploads")] == [(b"i1", None)]
    assert [(r.key, r.value) for r in read_topic(settings, "profiles")] == [(b"u1", None)]


def test_single_events_and_gzip_are_the_same_events(settings: Settings) -> None:
    for options in ({"framing": None}, {"compression": "gzip"}):
        with Publisher(settings=settings, **options) as publisher:
            for number in range(30):
                publisher.engagement(engagement(number))
    events = events_of(read_topic(settings, "engagements"))
    assert sorted(event["event_id"] for event in events) == sorted([f"e{n}" for n in range(30)] * 2)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_codec_is_there_out_of_the_box(settings: Settings, codec: Any) -> None:
    with Publisher(settings=settings, compression=codec) as publisher:
        for number in range(300):
            publisher.engagement(engagement(number, query="pasta carbonara " * 5))
    assert len(events_of(read_topic(settings, "engagements"))) == 300


def test_unknown_fields_stay_and_every_form_of_an_event_is_accepted(settings: Settings) -> None:
    plain = engagement(1, surface="hero")
    forms = [plain, msgspec.json.encode(plain), msgspec.json.encode(plain).decode(), Engagement(**engagement(1))]
    with Publisher(settings=settings) as publisher:
        for form in forms:
            publisher.engagement(form)
    events = events_of(read_topic(settings, "engagements"))
    assert [event.get("surface") for event in events] == ["hero", "hero", "hero", None]


def test_a_frame_never_grows_beyond_what_a_worker_accepts(settings: Settings) -> None:
    kafka = settings.kafka
    bounded = settings_on(kafka.bootstrap_servers, kafka.topic_prefix, kafka={"max_record_bytes": 3000})
    with Publisher(settings=bounded, framing=Framing(linger_s=5.0)) as publisher:
        for number in range(100):
            publisher.engagement(engagement(number, query="x" * (number * 25)))
    records = read_topic(settings, "engagements")
    assert len(events_of(records)) == 100
    assert max(len(record.value) for record in records) <= 3000


@pytest.mark.parametrize(
    ("event", "reason", "field"),
    [
        ({}, "missing_field", "event_id"),
        (engagement(1, kind="stare"), "unknown_kind", "kind"),
        (engagement(1, user_id=7), "wrong_type", "user_id"),
        (engagement(1, value=float("nan")), "not_finite", ""),
        (engagement(1, occurred_at=9e12), "future_time", "occurred_at"),
        (engagement(1, query={1, 2}), "wrong_type", ""),
        (b"[]", "not_an_event", ""),
        (b"{", "not_json", ""),
        ("x" * (2 << 20), "oversized", ""),
        (b'{"events": []}', "not_an_event", ""),
    ],
)
def test_a_wrong_event_is_named_before_it_is_sent(event: Any, reason: str, field: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        admit("engagements", event, Settings().event_limits())
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert caught.value.remedy in str(caught.value)


def test_a_vector_of_the_wrong_width_is_named() -> None:
    settings = settings_on(NOBODY, "x.", content={"widths": {"visual": 3}})
    with pytest.raises(InvalidEventError, match=r"content\.widths\.visual") as caught:
        admit("uploads", {"item_id": "i", "uploaded_at": 1.0, "features": {"visual": [1.0]}}, settings.event_limits())
    assert caught.value.field == "features.visual"


@pytest.mark.parametrize("key", ["", " i", "x" * 257])
def test_a_tombstone_needs_an_id(settings: Settings, key: str) -> None:
    with Publisher(settings=settings) as publisher, pytest.raises(InvalidEventError, match="1 to 256 characters"):
        publisher.take_down(key)


def test_keys_go_where_kafka_puts_them() -> None:
    for key in ("", "a", "ab", "abc", "abcd", "user-12345", "ключ"):
        assert partition_of(key, 7) == (murmur2(key.encode()) & 0x7FFFFFFF) % 7


def test_no_broker_is_said_within_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=f"{NOBODY}.*sidestream up"):
        Publisher(NOBODY, connect_timeout_s=1.0)
    assert time.monotonic() - began < 5.0


def test_a_missing_topic_is_said_with_its_remedy(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "never-created.")
    with Publisher(settings=settings) as publisher, pytest.raises(TopicsError, match="sidestream topics create"):
        publisher.engagement(engagement(1))


def test_a_codec_that_is_not_installed_is_refused(
    embedded_broker: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kafka.codec.snappy", None)
    with pytest.raises(ValueError, match="use gzip"):
        Publisher(embedded_broker.bootstrap_servers, compression="snappy")


def test_a_closed_publisher_says_so(settings: Settings) -> None:
    publisher = Publisher(settings=settings)
    publisher.close()
    publisher.close()
    with pytest.raises(RuntimeError, match="closed"):
        publisher.engagement(engagement(1))


def publish_until_refused(publisher: Publisher) -> tuple[int, PublishTimeoutError]:
    """How many engagements it has taken, one before this call included, and how it refused the next."""
    for number in range(1, 10_000):
        try:
            publisher.engagement(engagement(number))
        except PublishTimeoutError as error:
            return number, error
    raise AssertionError("it took everything")


def test_back_pressure_waits_then_raises_and_what_was_accepted_arrives(
    stopped: tuple[EmbeddedCluster, Settings],
) -> None:
    cluster, settings = stopped
    with Publisher(settings=settings, max_buffered_bytes=20_000, block_s=0.5) as publisher:
        publisher.engagement(engagement(0)).result()
        cluster.pause()
        began = time.monotonic()
        accepted, error = publish_until_refused(publisher)
        assert "publish more slowly" in str(error)
        assert 20 < accepted < 400, "the buffer's bound did not hold"
        assert time.monotonic() - began >= 0.5
        with pytest.raises(PublishTimeoutError, match="not acknowledged"):
            publisher.flush(timeout_s=0.2)
        cluster.resume()
        publisher.flush(timeout_s=20.0)
    assert len(events_of(read_topic(settings, "engagements"))) == accepted


def test_a_broker_that_dies_fails_every_delivery_that_it_did_not_take(
    stopped: tuple[EmbeddedCluster, Settings],
) -> None:
    cluster, settings = stopped
    publisher = Publisher(settings=settings, delivery_timeout_s=1.0)
    publisher.engagement(engagement(0)).result()
    cluster.pause()
    delivery = publisher.engagement(engagement(1))
    with pytest.raises(DeliveryError):
        delivery.result(timeout_s=10.0)
    with pytest.raises(DeliveryError, match="1 records failed"):
        publisher.flush()
    assert (publisher.acknowledged, publisher.failed) == (1, 1)
    publisher.close()


def test_a_delivery_that_takes_too_long_says_so(stopped: tuple[EmbeddedCluster, Settings]) -> None:
    cluster, settings = stopped
    with Publisher(settings=settings) as publisher:
        publisher.upload({"item_id": "a", "uploaded_at": 1.0}).result()
        cluster.pause()
        with pytest.raises(PublishTimeoutError, match="no acknowledgement"):
            publisher.upload({"item_id": "a", "uploaded_at": 1.0}).result(timeout_s=0.1)
        cluster.resume()


def test_framed_publishing_keeps_up_with_a_billion_a_day(embedded_broker: EmbeddedCluster) -> None:
    """The floor is far below what it does alone on a quiet machine: here it shares two cores with everything else."""
    settings = settings_on(embedded_broker.bootstrap_servers, "quick.")
    create_topics(settings)
    lines = [msgspec.json.encode(engagement(number)) for number in range(20_000)]
    with Publisher(settings=settings) as publisher:
        began = time.monotonic()
        for line in lines:
            publisher.engagement(line)
        publisher.flush()
        assert len(lines) / (time.monotonic() - began) > 8_000
