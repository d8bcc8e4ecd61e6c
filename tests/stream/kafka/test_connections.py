"""Connections: a client is returned connected, or the error says within the time what is wrong and what to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError, NotLeaderForPartitionError, TopicAuthorizationFailedError

from store.settings import Settings, settings_from
from stream.kafka.connections import (
    BrokerRefusedError,
    BrokerUnavailableError,
    admin_client,
    client_options,
    close_producer,
    connect_producer,
    reaching,
    reader,
)
from tests.clusters import EmbeddedCluster
from tests.stream.kafka.broker_thread import broker_thread
from tests.stream.log import settings_on


def impatient(*servers: str) -> Settings:
    return settings_from({"kafka": {"bootstrap_servers": ",".join(servers), "connect_timeout_s": 0.4}})


@contextmanager
def away() -> Iterator[str]:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    yield f"127.0.0.1:{port}"


@contextmanager
def silent() -> Iterator[str]:
    """A broker that stands still: it takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield f"127.0.0.1:{door.getsockname()[1]}"


def opens_admin(settings: Settings) -> None:
    with admin_client(settings):
        pass


def opens_reader(settings: Settings) -> None:
    with reader(settings, []):
        pass


@pytest.mark.parametrize(
    ("opens", "door", "why"),
    [
        (opens_admin, silent, r"answered within 0\.4 s"),
        (opens_reader, silent, r"answered within 0\.4 s"),
        (connect_producer, silent, r"answered within 0\.4 s"),
        (connect_producer, away, "no Kafka broker answers"),
    ],
)
def test_no_client_waits_in_silence(
    opens: Callable[[Settings], object], door: Callable[[], AbstractContextManager[str]], why: str
) -> None:
    began = time.monotonic()
    with door() as server, pytest.raises(BrokerUnavailableError, match=f"{why} at {server}: .*--bootstrap-servers"):
        opens(impatient(server))
    assert time.monotonic() - began < 5.0


def test_clients_are_given_the_one_server_that_lets_them_in(embedded_broker: EmbeddedCluster) -> None:
    with silent() as other:
        options = client_options(impatient(other, embedded_broker.bootstrap_servers).kafka)
    assert options["bootstrap_servers"] == [embedded_broker.bootstrap_servers]


def test_large_records_go_there_and_back_and_their_reader_leaves_no_trace(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "connections.")
    where = TopicPartition(settings.topic("t"), 0)
    large = b"x" * (3 << 20)
    with admin_client(settings) as admin:
        admin.create_topics({where.topic: {"num_partitions": 1, "replication_factor": 1}})
        groups = {str(group) for group in admin.list_groups()}
    with closing(connect_producer(settings)) as producer:
        sent = [producer.send(where.topic, value, partition=0) for value in (b"first", large)]
        assert [one.get(20).offset for one in sent] == [0, 1]
    with reader(settings, [where]) as consumer:
        found: list[bytes] = []
        end = time.monotonic() + 20
        while len(found) < 2 and time.monotonic() < end:
            found += [record.value for batch in consumer.poll(500).values() for record in batch]
    assert found == [b"first", large]
    with admin_client(settings) as admin:
        assert {str(group) for group in admin.list_groups()} == groups


@pytest.mark.parametrize(
    ("error", "becomes", "told"),
    [
        (TopicAuthorizationFailedError("t"), BrokerRefusedError, "user 'ada' lacks access .*: add the ACLs of docs/"),
        (KafkaTimeoutError("metadata"), BrokerUnavailableError, "no Kafka broker answered within"),
        (NotLeaderForPartitionError("t"), NotLeaderForPartitionError, "t"),
    ],
)
def test_the_clients_words_become_ours_where_they_mean_nobody_there_or_not_you(
    error: KafkaError, becomes: type[Exception], told: str
) -> None:
    security = {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", "username": "ada", "password": "x"}
    settings = settings_from({"kafka": {"bootstrap_servers": "127.0.0.1:1", "security": security}})
    with pytest.raises(becomes, match=told) as raised, reaching(settings):
        raise error
    assert type(raised.value) is becomes


def test_a_producer_is_closed_in_time_and_what_it_holds_has_failed(tmp_path: Path) -> None:
    with broker_thread(tmp_path, auto_create_topics=True) as broker:
        producer = connect_producer(settings_on(broker.address, ""), allow_auto_create_topics=True)
        producer.send("t", b"taken").get(20)
        broker.stand_still()
        held = producer.send("t", b"held")
        began = time.monotonic()
        close_producer(producer, timeout_s=0.2)
        assert time.monotonic() - began < 3.0
    assert not producer._sender.is_alive()
    with pytest.raises(KafkaError):
        held.get(0.1)
