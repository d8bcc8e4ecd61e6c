"""A producer that is made anew while records are overdue: real producers, on a broker that comes and goes."""

from __future__ import annotations

import threading

import pytest
from kafka import KafkaProducer

from stream.client import steady_producer
from stream.client.steady_producer import SteadyProducer
from stream.kafka.connections import BrokerUnavailableError
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import settings_on
from tests.waiting import eventually

# kafka-python leaves the sockets of a producer that is given up to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady_producer, "RETRY_S", 0.05)


TOPIC = "steady.engagements"


class Connections:
    """Makes connected producers, as long as the broker is there."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self.made: list[KafkaProducer] = []
        self.tries = 0
        self.away = False

    def __call__(self) -> KafkaProducer:
        self.tries += 1
        if self.away:
            raise BrokerUnavailableError("the broker is away")
        self.made.append(KafkaProducer(bootstrap_servers=self._servers))
        return self.made[-1]


@pytest.fixture
def connections(embedded_broker: EmbeddedCluster) -> Connections:
    create_topics(settings_on(embedded_broker.bootstrap_servers, "steady."))
    return Connections(embedded_broker.bootstrap_servers)


@pytest.fixture
def steady(connections: Connections) -> SteadyProducer:
    return SteadyProducer(connections)


def closed(producer: KafkaProducer) -> bool:
    """Whether it takes no more records."""
    try:
        producer.send(TOPIC, b"probe", partition=0)
    except Exception:
        return True
    return False


def renewals() -> int:
    return sum(thread.name == "sidestream-renewal" for thread in threading.enumerate())


def sent(steady: SteadyProducer) -> bool:
    return bool(steady.send(TOPIC, b"k", b"v", 0).get(timeout=10).offset >= 0)


def test_a_record_that_is_overdue_makes_a_new_one_take_over(steady: SteadyProducer, connections: Connections) -> None:
    assert sent(steady)
    steady.missed()
    eventually(lambda: len(connections.made) > 1 and closed(connections.made[0]))
    steady.said_late()
    eventually(lambda: not renewals())
    assert sent(steady)
    assert [closed(one) for one in connections.made].count(False) == 1, "no other is left behind"
    steady.close()
    assert all(map(closed, connections.made))


def test_one_that_comes_to_itself_stays(steady: SteadyProducer, connections: Connections) -> None:
    steady.missed()
    steady.said_late()
    eventually(lambda: not renewals())
    assert not closed(connections.made[0])
    assert all(map(closed, connections.made[1:]))
    assert sent(steady)
    steady.close()


def test_while_the_broker_is_away_it_is_tried_again(steady: SteadyProducer, connections: Connections) -> None:
    connections.away = True
    steady.missed()
    steady.missed()
    eventually(lambda: connections.tries >= 4)
    assert renewals() == 1, "one attempt at a time"
    assert not closed(connections.made[0])
    connections.away = False
    eventually(lambda: closed(connections.made[0]))
    steady.said_late()
    steady.said_late()
    eventually(lambda: not renewals())
    steady.close()


def test_closing_ends_the_attempts_and_none_begins_after_it(steady: SteadyProducer, connections: Connections) -> None:
    connections.away = True
    steady.missed()
    eventually(lambda: connections.tries > 1)
    steady.close()
    assert not renewals()
    assert closed(connections.made[0])
    steady.missed()
    assert not renewals()
