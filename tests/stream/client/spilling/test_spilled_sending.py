"""The publisher with a spill, through outages on brokers of its own: nothing is lost, nothing is out of its order."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidestream import Publisher
from store.envelopes.newest_events import forgotten
from store.headers import CAME_AT, number_in
from store.keys import partition_of
from store.log import LogRecord, engagements
from store.settings import Settings
from store.topics import PROFILES
from stream.client.spilling.spill import Spill, Spilled, SpillError
from stream.kafka.connections import BrokerUnavailableError
from stream.kafka.deliveries import Delivery, DeliveryError, Framing
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster, KafkaCluster, cluster_of_its_own
from tests.killed import killed_at
from tests.stream.client.test_publisher import engagement
from tests.stream.client.test_publisher_outage import reach
from tests.stream.log import events_of, read_topic, settings_on
from tests.waiting import eventually

# kafka-python leaves the sockets of refused connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

POINTS = ("spill_forced", "spill_answered")
TIME_S, SLACK_S = 0.7, 2.0
ROOMY = 1 << 30


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.long])])
def these_tests_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedCluster | KafkaCluster]:
    yield from cluster_of_its_own(request.param, tmp_path_factory.mktemp("spill-outage"))


@pytest.fixture
def settings(own_cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    settings = settings_on(own_cluster.bootstrap_servers, f"spill-{uuid.uuid4().hex[:6]}.")
    create_topics(settings)
    return settings


def by_user(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """User → event ids in the order in which each came first."""
    found: dict[str, dict[str, None]] = {}
    for event in events:
        found.setdefault(event["user_id"], {})[event["event_id"]] = None
    return {user: list(ids) for user, ids in found.items()}


def on_the_log(settings: Settings) -> dict[str, list[str]]:
    events = [event for event in events_of(read_topic(settings, "engagements")) if event["event_id"] != "reached"]
    return by_user(events)


def read_topic_as_log(settings: Settings, name: str) -> list[LogRecord]:
    return [
        LogRecord(one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)
        for one in read_topic(settings, name)
    ]


def emptied(publisher: Publisher) -> None:
    def empty() -> bool:
        publisher.flush()
        return publisher.waiting == 0

    eventually(empty)


@pytest.mark.parametrize("framing", [Framing(linger_s=0.01), pytest.param(None, marks=pytest.mark.long)])
@pytest.mark.parametrize("fault", ["pause", "kill"])
def test_an_outage_costs_no_event_and_no_users_order(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path, fault: str, framing: Framing | None
) -> None:
    publisher = Publisher(settings=settings, framing=framing, delivery_timeout_s=TIME_S, spill=tmp_path)
    reach(publisher)
    earlier = publisher.acknowledged + publisher.spilled + publisher.failed
    made: list[tuple[Delivery, float]] = []

    def publish(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            made.append((publisher.engagement(engagement(len(made))), time.monotonic()))
            time.sleep(0.005)

    publish(0.2)
    began_ms = time.time() * 1000
    getattr(own_cluster, fault)()
    publish(2.5 * TIME_S)
    for delivery, since in made:
        assert delivery.wait(max(0.0, since + TIME_S + SLACK_S - time.monotonic())), "it has not ended in its time"
        assert delivery.error is None
        assert delivery.spilled == (delivery.offset < 0)
    assert publisher.waiting > 0
    own_cluster.resume() if fault == "pause" else own_cluster.restart()
    publish(0.5)
    emptied(publisher)
    publish(0.1)
    assert made[-1][0].result().offset >= 0, "after it events go to the log themselves"
    publisher.close()
    assert publisher.acknowledged + publisher.spilled == earlier + len(made)
    assert publisher.failed == 0
    assert on_the_log(settings) == by_user([engagement(number) for number in range(len(made))])
    for record in read_topic(settings, "engagements"):
        came_at_ms = number_in(record.headers, CAME_AT, -1)
        assert came_at_ms == -1 or began_ms - 1000 * SLACK_S < came_at_ms <= record.timestamp


PUBLISH = """
import sys, time
from sidestream import Publisher
from tests.stream.client.test_publisher import engagement
from tests.stream.log import settings_on
servers, prefix, folder, told, first, last = sys.argv[1:]
def report(delivery):
    with open(told, "a") as out:
        out.write("spilled\\n" * delivery.spilled)
publisher = Publisher(settings=settings_on(servers, prefix), framing=None, spill=folder, on_delivery=report)
for number in range(int(first), int(last)):
    publisher.engagement(engagement(number)).wait(10)
publisher.flush()
time.sleep(60)
"""


def test_a_process_that_is_killed_leaves_its_spill_to_the_next_one(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    """The first dies in the outage, the second when the broker has acknowledged what it has not taken out."""
    spill, told = tmp_path / "spill", tmp_path / "told"
    with Publisher(settings=settings, spill=spill):
        pass
    own_cluster.kill()
    where = (own_cluster.bootstrap_servers, settings.kafka.topic_prefix, spill, told)
    killed_at("spill_forced:21", PUBLISH, *where, 0, 100)
    promised = told.read_text().count("spilled")
    assert promised == 20
    own_cluster.restart()
    killed_at("spill_answered:1", PUBLISH, *where, 100, 100)
    with Publisher(settings=settings, spill=spill) as publisher:
        assert promised <= publisher.waiting <= promised + 1
        publisher.engagement(engagement(200, user_id="u0"))
        emptied(publisher)
    found = on_the_log(settings)
    published = {f"e{number}" for number in range(promised)}
    assert published <= {name for names in found.values() for name in names} <= published | {"e20", "e200"}
    assert found["u0"] == ["e0", "e200"]


def test_without_a_broker_a_folder_that_was_not_used_before_is_no_help(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    own_cluster.kill()
    for _ in range(2):
        with pytest.raises(BrokerUnavailableError):
            Publisher(settings=settings, spill=tmp_path)


def test_a_full_buffer_is_spilled_where_it_was_refused(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    publisher = Publisher(settings=settings, framing=None, max_buffered_bytes=20_000, block_s=0.2, spill=tmp_path)
    publisher.engagement(engagement(0)).result()
    own_cluster.pause()
    for number in range(1, 400):
        publisher.engagement(engagement(number))
        assert publisher.buffered_bytes <= 20_000
    publisher.flush()
    assert (publisher.acknowledged, publisher.spilled) == (1, 399)
    own_cluster.resume()
    emptied(publisher)
    publisher.close()
    assert on_the_log(settings) == by_user([engagement(number) for number in range(400)])


def test_a_full_spill_is_the_error_that_names_what_to_do(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    publisher = Publisher(
        settings=settings, framing=None, delivery_timeout_s=TIME_S, spill=tmp_path, spill_limit_bytes=10_000
    )
    reach(publisher)
    earlier = publisher.acknowledged + publisher.spilled
    own_cluster.pause()
    deliveries = [publisher.engagement(engagement(number)) for number in range(100)]
    assert all(delivery.wait(TIME_S + SLACK_S) for delivery in deliveries)
    with pytest.raises(DeliveryError, match=r"records failed; .*spill .* may hold 10000: .*raise spill_limit_bytes"):
        publisher.flush()
    spilled = {f"e{number}" for number, delivery in enumerate(deliveries) if delivery.spilled}
    assert 0 < len(spilled) < 100
    assert publisher.acknowledged + publisher.spilled + publisher.failed == earlier + 100
    own_cluster.resume()
    emptied(publisher)
    publisher.close()
    found = {name for names in on_the_log(settings).values() for name in names}
    assert spilled <= found, "what has failed may be there, too: it was on its way"


def test_what_is_spilled_does_not_outlive_a_request_to_forget_that_came_after_it(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    spill = Spill(tmp_path, ROOMY)
    topic = settings.topic("engagements")
    for number, user in enumerate(("gone", "stays")):
        value = msgspec.json.encode(engagement(number, user_id=user))
        came_at_ms = int(time.time() * 1000) - 5000
        spill.append([Spilled(topic, partition_of(user, 4), user.encode(), value, came_at_ms, 1)])
    spill.close()
    with Publisher(settings=settings) as other:
        other.forget("gone")
    with Publisher(settings=settings, spill=tmp_path) as publisher:
        emptied(publisher)
    forget = forgotten(read_topic_as_log(settings, PROFILES))
    found = engagements(read_topic_as_log(settings, "engagements"), now=time.time(), forget=forget)
    assert [each.event.user_id for each in found] == ["stays"]


def test_the_events_of_one_cluster_are_not_sent_to_another(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    spill = Spill(tmp_path, ROOMY)
    spill.note("cluster", "production")
    spill.append([Spilled(settings.topic("engagements"), 0, b"u", b"{}", 0, 1)])
    spill.close()
    with pytest.raises(SpillError, match=r"events for the Kafka cluster production, and .* a spill folder of its own"):
        Publisher(settings=settings, spill=tmp_path)
    spill = Spill(tmp_path, ROOMY)
    assert spill.events == 1
    spill.close()


def test_a_closed_publisher_has_ended_every_delivery_and_let_go_of_the_folder(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, tmp_path: Path
) -> None:
    publisher = Publisher(settings=settings, framing=None, spill=tmp_path)
    publisher.engagement(engagement(0)).result()
    own_cluster.pause()
    deliveries = [publisher.engagement(engagement(number)) for number in range(1, 10)]
    with suppress(TimeoutError):  # not acknowledged within a tenth of a second, which is told
        publisher.close(0.1)
    assert all(delivery.done and delivery.spilled for delivery in deliveries)
    assert (publisher.acknowledged, publisher.spilled, publisher.failed) == (1, 9, 0)
    own_cluster.resume()
    with Publisher(settings=settings, spill=tmp_path) as publisher:
        emptied(publisher)
    assert on_the_log(settings) == by_user([engagement(number) for number in range(10)])
