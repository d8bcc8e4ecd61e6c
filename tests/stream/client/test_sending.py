"""Sending: what is held is bounded, and each delivery ends once, on a real broker; outages are in other files."""

from __future__ import annotations

import time

import pytest

from store.settings import Settings
from stream.client.sending import Sending
from stream.kafka.deliveries import Delivery, DeliveryError, Patience, PublishTimeoutError
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "sending.")
    create_topics(settings)
    return settings


def handed_over(sending: Sending, settings: Settings, value: bytes) -> Delivery:
    delivery = Delivery(settings.topic("uploads"), 0)
    delivery.events = 1
    with sending.lock:
        sending.reserve(len(value))
        sending.hand_over(delivery, b"k", value, len(value))
    return delivery


def test_what_is_handed_over_is_held_until_it_has_ended(settings: Settings) -> None:
    ended: list[Delivery] = []
    sending = Sending(settings, Patience(30.0, 1000, 0.1), on_delivery=ended.append)
    assert sending.partitions("uploads") == 4
    delivery = handed_over(sending, settings, b"v" * 900)
    sending.flush(30.0)
    assert (delivery.done, delivery.error, sending.buffered, sending.waiting) == (True, None, 0, 0)
    assert ended == [delivery]
    sending.close()
    assert [len(record.value) for record in read_topic(settings, "uploads")] == [900]


def test_room_that_nobody_makes_is_not_waited_for_without_end(settings: Settings) -> None:
    sending = Sending(settings, Patience(30.0, 1000, 0.1))
    with sending.lock:
        sending.reserve(900)
        began = time.monotonic()
        with pytest.raises(PublishTimeoutError, match=r"900 bytes wait for .*publish more slowly"):
            sending.reserve(200)
        assert 0.1 <= time.monotonic() - began < 5.0
    sending.close()


def test_what_the_client_refuses_at_once_has_failed(settings: Settings) -> None:
    sending = Sending(settings, Patience(30.0, 64 << 20, 0.1))
    delivery = handed_over(sending, settings, bytes(17 << 20))
    assert delivery.error is not None
    with pytest.raises(DeliveryError, match="1 records failed"):
        sending.flush(1.0)
    assert sending.buffered == 0
    sending.close()
