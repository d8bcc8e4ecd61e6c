"""The publisher through outages, on brokers of its own that are killed, paused and brought back: nothing stays open."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from sidestream import Publisher
from store.settings import Settings
from stream.kafka.deliveries import Delivery, DeliveryError, Framing, PublishTimeoutError
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster, KafkaCluster, cluster_of_its_own
from tests.stream.client.test_publisher import engagement
from tests.stream.log import events_of, read_topic, settings_on

# kafka-python leaves the sockets of refused connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TIME_S = 1.5
"""The deliveries' time in these tests."""
SLACK_S = 2.0
"""For a machine that other tests share."""


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.long])])
def these_tests_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedCluster | KafkaCluster]:
    yield from cluster_of_its_own(request.param, tmp_path_factory.mktemp("outage"))


@pytest.fixture
def settings(own_cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    settings = settings_on(own_cluster.bootstrap_servers, f"outage-{uuid.uuid4().hex[:6]}.")
    create_topics(settings)
    return settings


def reach(publisher: Publisher, seconds: float = 20.0) -> None:
    """Publishes until an event is acknowledged: a cold broker may take longer than these deliveries may."""
    end = time.monotonic() + seconds
    while not (delivery := publisher.engagement(engagement(0, event_id="reached"))).wait() or delivery.error:
        assert time.monotonic() < end, "it does not come to itself"
    with suppress(DeliveryError):
        publisher.flush()


def publish_for(publisher: Publisher, seconds: float) -> list[tuple[Delivery, float]]:
    """Deliveries of steady traffic, with the time at which each was handed over."""
    made = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        made.append((publisher.engagement(engagement(len(made))), time.monotonic()))
        time.sleep(0.02)
    return made


@pytest.mark.parametrize("fault", ["pause", pytest.param("kill", marks=pytest.mark.long)])
def test_every_event_of_an_outage_ends_within_its_time(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, fault: str
) -> None:
    """After the first record that ran out of time the client waited for a producer id, and ended nothing any more."""
    publisher = Publisher(settings=settings, framing=None, delivery_timeout_s=TIME_S)
    reach(publisher)
    earlier = publisher.acknowledged + publisher.failed
    before = publish_for(publisher, 0.3)
    publisher.flush()
    getattr(own_cluster, fault)()
    during = publish_for(publisher, 2.5 * TIME_S)
    for delivery, since in during:
        assert delivery.wait(max(0.0, since + TIME_S + SLACK_S - time.monotonic())), "neither acknowledged nor failed"
    assert publisher.acknowledged + publisher.failed == earlier + len(before) + len(during)
    with pytest.raises(DeliveryError, match=rf"{settings.kafka.bootstrap_servers}.*publish its events again"):
        publisher.flush()
    own_cluster.resume() if fault == "pause" else own_cluster.restart()
    reach(publisher)
    published = {event["event_id"] for event in events_of(read_topic(settings, "engagements"))}
    assert published >= {f"e{number}" for number in range(len(before))} | {"reached"}
    with suppress(DeliveryError):  # of what was published before the client had noticed the broker
        publisher.close()


@pytest.mark.parametrize("framing", [Framing(linger_s=0.01), pytest.param(None, marks=pytest.mark.long)])
def test_what_is_held_stays_bounded_through_an_outage(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings, framing: Framing | None
) -> None:
    """Events that failed are counted as held for as long as the client holds them."""
    publisher = Publisher(
        settings=settings, framing=framing, delivery_timeout_s=TIME_S, max_buffered_bytes=20_000, block_s=0.05
    )
    reach(publisher)
    own_cluster.pause()
    refused = 0
    for number in range(1, 400):
        try:
            publisher.engagement(engagement(number))
        except PublishTimeoutError:
            refused += 1
        assert publisher.buffered_bytes <= 20_000
    assert refused, "it took everything"
    own_cluster.resume()
    with pytest.raises(DeliveryError):
        publisher.close()


def test_the_first_cause_is_the_error_that_is_seen(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings
) -> None:
    def apply() -> None:
        with Publisher(settings=settings, delivery_timeout_s=TIME_S) as publisher:
            reach(publisher)
            own_cluster.pause()
            publisher.engagement(engagement(1))
            raise ZeroDivisionError("the application's own")

    with pytest.raises(ZeroDivisionError) as caught:
        apply()
    assert "1 records failed" in "".join(caught.value.__notes__)


def test_close_reports_what_failed_and_ends_in_time(
    own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings
) -> None:
    publisher = Publisher(settings=settings, delivery_timeout_s=TIME_S)
    reach(publisher)
    own_cluster.kill()
    publisher.engagement(engagement(1))
    began = time.monotonic()
    with pytest.raises(DeliveryError, match=r"1 records failed.*look at the broker"):
        publisher.close()
    assert time.monotonic() - began < TIME_S + SLACK_S + 1.0
    assert publisher.failed >= 1


def test_a_report_that_fails_costs_no_delivery(own_cluster: EmbeddedCluster | KafkaCluster, settings: Settings) -> None:
    told = threading.Event()

    def report(delivery: Delivery) -> Any:
        told.set()
        raise ZeroDivisionError("the application's own")

    publisher = Publisher(settings=settings, delivery_timeout_s=TIME_S, on_delivery=report)
    reach(publisher)
    own_cluster.pause()
    deliveries = [publisher.engagement(engagement(number)) for number in range(3)]
    assert all(delivery.wait(TIME_S + SLACK_S) for delivery in deliveries)
    assert told.is_set()
    assert publisher.engagement(engagement(4)).wait(TIME_S + SLACK_S)
    own_cluster.resume()
    with pytest.raises(DeliveryError):
        publisher.close()
