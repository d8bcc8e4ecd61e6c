"""Connections: how sidestream's kafka-python clients reach the log, from one `Settings`.

Invariant: a client is returned connected, or `BrokerUnavailableError` is raised within `timeout_s`; nothing waits in
silence for a broker that is not there.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import AuthorizationError, KafkaConnectionError, KafkaTimeoutError

from store.security import client_security, refusal_of, security_of
from store.settings import Settings

CONNECT_TIMEOUT_S = 5.0
LARGEST_RECORD_BYTES = 16 << 20


class BrokerRefusedError(ConnectionError):
    """A broker answers, but does not let this client in: the message names the setting of `[kafka.security]`, or the
    access that is missing."""


class BrokerUnavailableError(ConnectionError):
    """No Kafka broker answers: start one (`sidestream up`), or correct --bootstrap-servers and try again."""

    def __init__(self, bootstrap_servers: str, what: str = "no Kafka broker answers") -> None:
        super().__init__(
            f"{what} at {bootstrap_servers}: start one with `sidestream up`, or give the right --bootstrap-servers"
        )
        self.bootstrap_servers = bootstrap_servers


def quiet_clients() -> None:
    """Lets kafka-python log only what nothing else reports: its warnings repeat what sidestream's errors say."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def client_options(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S) -> dict[str, Any]:
    """The options that every kafka-python client shares."""
    return {
        "bootstrap_servers": settings.kafka.bootstrap_servers.split(","),
        "bootstrap_timeout_ms": int(timeout_s * 1000),
        "reconnect_backoff_max_ms": 1000,
        **client_security(settings.kafka),
    }


def knock(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
    """Raises `BrokerUnavailableError` unless some bootstrap address accepts a connection, and `BrokerRefusedError` if
    that does not let this client in.

    Asked first, because a refusal is known at once, while Kafka clients go on trying until their time is over.
    """
    servers = settings.kafka.bootstrap_servers
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
            break
        except (OSError, ValueError):
            continue
    else:
        raise BrokerUnavailableError(servers)
    _raise_refusal(settings, timeout_s)


def _raise_refusal(settings: Settings, timeout_s: float) -> None:
    try:
        reason = refusal_of(settings.kafka, timeout_s)
    except TimeoutError:
        silence = f"no Kafka broker answered within {timeout_s:g} s"
        raise BrokerUnavailableError(settings.kafka.bootstrap_servers, silence) from None
    if reason:
        raise BrokerRefusedError(reason)


@contextmanager
def reaching(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S) -> Iterator[None]:
    """Turns the client's own words for "nobody there" and "not you" into `BrokerUnavailableError` and
    `BrokerRefusedError`."""
    try:
        yield
    except AuthorizationError as error:
        raise BrokerRefusedError(missing_access(settings, error)) from error
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        servers = settings.kafka.bootstrap_servers
        raise BrokerUnavailableError(servers, f"no Kafka broker answered within {timeout_s:g} s") from error


def missing_access(settings: Settings, error: AuthorizationError) -> str:
    """What a refused request lacks, as one line."""
    security = security_of(settings.kafka)
    who = f"user {security.username!r}" if security.username else "this client"
    return f"{who} lacks access ({error}): give it the ACLs of docs/security.md"


@contextmanager
def admin_client(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S) -> Iterator[KafkaAdminClient]:
    """A connected admin client, closed at the end."""
    knock(settings, timeout_s)
    with reaching(settings, timeout_s):
        client = KafkaAdminClient(**client_options(settings, timeout_s))
    try:
        with reaching(settings, timeout_s):
            yield client
    finally:
        client.close()


def connect_producer(settings: Settings, timeout_s: float = CONNECT_TIMEOUT_S, **options: Any) -> KafkaProducer:
    """A connected producer: idempotent, acknowledged by all in-sync replicas, records up to 16 MiB."""
    knock(settings, timeout_s)
    with reaching(settings, timeout_s):
        return KafkaProducer(
            **{
                **client_options(settings, timeout_s),
                "allow_auto_create_topics": False,
                "max_request_size": LARGEST_RECORD_BYTES,
                "max_block_ms": int(timeout_s * 1000),
                **options,
            }
        )


def close_producer(producer: KafkaProducer, timeout_s: float = 1.0) -> None:
    """Closes a producer whatever its state. What it holds after `timeout_s` is given up, and failed.

    Its own `close` waits for each record, and where one is late it raises and leaves its thread at work."""
    try:
        producer.close(timeout=timeout_s)
    except KafkaTimeoutError:
        producer._sender.force_close()
        producer._sender.join(timeout_s)


@contextmanager
def reader(
    settings: Settings, partitions: Iterable[TopicPartition], timeout_s: float = CONNECT_TIMEOUT_S, **options: Any
) -> Iterator[KafkaConsumer]:
    """A consumer of just these partitions, in no group: it commits nothing and disturbs nobody."""
    knock(settings, timeout_s)
    with reaching(settings, timeout_s):
        consumer = KafkaConsumer(
            **{
                **client_options(settings, timeout_s),
                "group_id": None,
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest",
                "max_partition_fetch_bytes": LARGEST_RECORD_BYTES,
                **options,
            }
        )
    try:
        consumer.assign(list(partitions))
        yield consumer
    finally:
        consumer.close()
