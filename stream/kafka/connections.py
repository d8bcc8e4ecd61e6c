"""Connections: how sidestream's kafka-python clients reach the log, from one `Settings`.

Invariant: a client is returned connected, or `BrokerUnavailableError` is raised within `kafka.connect_timeout_s`;
nothing waits in silence for a broker that is not there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import AuthorizationError, KafkaConnectionError, KafkaTimeoutError

from store.security import RefusedError, client_options, security_of
from store.security.probe import AbsentError, SilentError
from store.settings import Settings

LARGEST_RECORD_BYTES = 16 << 20


class BrokerUnavailableError(ConnectionError):
    """No Kafka broker answers: start one (`sidestream up`), or correct --bootstrap-servers and try again."""

    def __init__(self, bootstrap_servers: str, what: str = "no Kafka broker answers") -> None:
        super().__init__(
            f"{what} at {bootstrap_servers}: start one with `sidestream up`, or give the right --bootstrap-servers"
        )
        self.bootstrap_servers = bootstrap_servers


class BrokerRefusedError(BrokerUnavailableError):
    """A broker answers, but does not let this client in: the message names the setting of `[kafka.security]`, or the
    access that is missing. Who waits for a broker waits on: one that is being restarted hangs up as well."""

    def __init__(self, bootstrap_servers: str, reason: str) -> None:
        ConnectionError.__init__(self, reason)
        self.bootstrap_servers = bootstrap_servers


def quiet_clients() -> None:
    """Lets Kafka's clients log only what nothing else reports: their warnings repeat what sidestream's errors say."""
    for client in ("kafka", "aiokafka"):
        logging.getLogger(client).setLevel(logging.CRITICAL)


@contextmanager
def reaching(settings: Settings) -> Iterator[None]:
    """Turns what the door and the client itself say of "nobody there" and "not you" into `BrokerUnavailableError` and
    `BrokerRefusedError`. A refusal is known at once, while Kafka's clients go on trying until their time is over."""
    servers = settings.kafka.bootstrap_servers
    try:
        yield
    except RefusedError as refused:
        raise BrokerRefusedError(servers, str(refused)) from None
    except AbsentError:
        raise BrokerUnavailableError(servers) from None
    except AuthorizationError as error:
        raise lacking(settings, f"access ({error})") from error
    except (KafkaTimeoutError, KafkaConnectionError, SilentError) as error:
        raise BrokerUnavailableError(
            servers, f"no Kafka broker answered within {settings.kafka.connect_timeout_s:g} s"
        ) from error


def lacking(settings: Settings, what: str) -> BrokerRefusedError:
    """The error for a client that the broker knows, and that may not do what it must."""
    name = security_of(settings.kafka).username
    who = f"user {name!r}" if name else "this client"
    servers = settings.kafka.bootstrap_servers
    return BrokerRefusedError(servers, f"{who} lacks {what}: add the ACLs of docs/security.md")


@contextmanager
def admin_client(settings: Settings) -> Iterator[KafkaAdminClient]:
    """A connected admin client, closed at the end."""
    with reaching(settings):
        client = KafkaAdminClient(**client_options(settings.kafka))
    try:
        with reaching(settings):
            yield client
    finally:
        client.close()


def connect_producer(settings: Settings, **options: Any) -> KafkaProducer:
    """A connected producer: idempotent, acknowledged by all in-sync replicas, records up to 16 MiB."""
    with reaching(settings):
        return KafkaProducer(
            **{
                **client_options(settings.kafka),
                "allow_auto_create_topics": False,
                "max_request_size": LARGEST_RECORD_BYTES,
                "max_block_ms": int(settings.kafka.connect_timeout_s * 1000),
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


def abort_producer(producer: KafkaProducer, timeout_s: float) -> None:
    """Ends a producer at once: what it holds is not sent any more, and fails. So long it may take to end."""
    producer._sender.force_close()
    producer._sender.join(timeout_s)
    close_producer(producer, timeout_s=0.0)


@contextmanager
def reader(settings: Settings, partitions: Iterable[TopicPartition], **options: Any) -> Iterator[KafkaConsumer]:
    """A consumer of just these partitions, in no group: it commits nothing and disturbs nobody."""
    with reaching(settings):
        consumer = KafkaConsumer(
            **{
                **client_options(settings.kafka),
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
