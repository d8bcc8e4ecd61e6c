"""A producer that is given up as a whole: real producers, on a broker that comes and goes."""

from __future__ import annotations

import logging
import threading

import pytest
from kafka import KafkaProducer

from store.reporting.outages import Outage
from stream.client.spilling import fresh_producer
from stream.client.spilling.fresh_producer import FreshProducer
from stream.kafka.connections import BrokerRefusedError, BrokerUnavailableError
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.client.test_steady_producer import TOPIC, Connections, closed
from tests.stream.log import settings_on
from tests.waiting import eventually

# kafka-python leaves the sockets of a producer that is given up to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh_producer, "RETRY_S", 0.05)


@pytest.fixture
def connections(embedded_broker: EmbeddedCluster) -> Connections:
    create_topics(settings_on(embedded_broker.bootstrap_servers, "steady."))
    return Connections(embedded_broker.bootstrap_servers)


def outage() -> Outage:
    return Outage(logging.getLogger("test"), "no broker takes events", "they wait")


def sent(fresh: FreshProducer) -> bool:
    return bool(fresh.send(TOPIC, b"k", b"v", 0).get(timeout=10).offset >= 0)


def test_one_that_is_given_up_ends_before_the_next_one_connects(connections: Connections) -> None:
    alive: list[bool] = []

    def connect() -> KafkaProducer:
        alive.extend(one._sender.is_alive() for one in connections.made)
        return connections()

    fresh = FreshProducer(connect, outage())
    assert sent(fresh)
    first = fresh.client
    fresh.give_up(first, "it does not get on")
    assert fresh.client is None
    eventually(lambda: fresh.client is not None)
    assert fresh.client is not first
    assert alive == [False]
    assert sent(fresh)
    fresh.give_up(first, "told late: another one is at work")
    assert sent(fresh)
    fresh.close()
    assert all(map(closed, connections.made))


def test_while_nobody_answers_it_is_tried_again_and_sends_raise(connections: Connections) -> None:
    fresh = FreshProducer(connections, outage())
    connections.away = True
    fresh.give_up(fresh.client, "x")
    eventually(lambda: connections.tries >= 4)
    with pytest.raises(BrokerUnavailableError):
        fresh.send(TOPIC, b"k", b"v", 0)
    connections.away = False
    eventually(lambda: fresh.client is not None)
    assert sent(fresh)
    fresh.close()
    assert not any(thread.name == "sidestream-renewal" for thread in threading.enumerate())


def test_it_may_begin_without_a_broker_where_that_is_allowed_but_not_refused(connections: Connections) -> None:
    connections.away = True
    with pytest.raises(BrokerUnavailableError):
        FreshProducer(connections, outage())
    fresh = FreshProducer(connections, outage(), may_wait=True)
    assert fresh.client is None
    connections.away = False
    eventually(lambda: fresh.client is not None)
    fresh.close()

    def refuse() -> KafkaProducer:
        raise BrokerRefusedError("broker", "wrong password")

    with pytest.raises(BrokerRefusedError):
        FreshProducer(refuse, outage(), may_wait=True)


def test_closing_ends_the_attempts(connections: Connections) -> None:
    connections.away = True
    fresh = FreshProducer(connections, outage(), may_wait=True)
    fresh.close()
    assert not any(thread.name == "sidestream-renewal" for thread in threading.enumerate())
    fresh.give_up(fresh.client, "x")
    assert fresh.client is None
