"""The agents on a real broker: records reach the partition that hosts them, and what it acknowledges is committed."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from faust.auth import OAuthCredentials
from faust.types.auth import AuthProtocol

from store.settings import Settings, settings_from
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS
from stream.ingest.agents import create_app
from stream.ingest.assignment import Assignment
from stream.ingest.protocol.partition import Partition
from stream.kafka.connections import admin_client
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.state_topics import hole_reader
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.secured import PASSWORD, USER, make_certificates, security
from tests.stream.log import settings_on
from tests.waiting import eventually

Taken = tuple[str, bytes | None, bytes | None]


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """An app silences loggers of this process."""
    names = ("faust", "mode", "aiokafka", "kafka", "aiokafka.consumer.group_coordinator")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


class Noting(Partition):
    """Notes what it is given; with `held`, nothing that it publishes is ever safe."""

    def __init__(self, settings: Settings, number: int, taken: list[Taken], held: bool) -> None:
        super().__init__(number, 0.02, hole_reader(settings))
        self._prefix = settings.kafka.topic_prefix
        self._noted = taken
        self._held = held

    async def restore(self) -> None:
        """There is nothing to restore."""

    async def absorb(self, records: list[Record]) -> list[asyncio.Future[Any]]:
        self._noted += [(r.topic.removeprefix(self._prefix), r.key, r.value) for r in records]
        return []

    def publish(self) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(3600.0 if self._held else 0.0)

    def close(self) -> None:
        """Nothing is held."""


async def publish(settings: Settings, *records: Taken) -> None:
    emitter = Emitter(settings)
    await emitter.start()
    await emitter.settle([await emitter.send(topic, value, key=key, partition=0) for topic, key, value in records])
    await emitter.stop()


def committed(settings: Settings) -> dict[str, int]:
    """Topic → the group's position."""
    with admin_client(settings) as admin:
        found = admin.list_group_offsets([settings.kafka.group])[settings.kafka.group]
    return {where.topic.removeprefix(settings.kafka.topic_prefix): at.offset for where, at in found.items()}


def test_records_reach_the_partition_that_hosts_them_and_what_it_acknowledges_is_committed(
    embedded_broker: EmbeddedCluster, tmp_path: Path
) -> None:
    name = f"agents-{uuid.uuid4().hex[:8]}"
    kafka = {"group": name, "partitions": 1, "commit_interval_s": 0.1}
    settings = settings_on(embedded_broker.bootstrap_servers, f"{name}.", kafka=kafka)
    create_topics(settings)
    taken: list[Taken] = []
    sent: list[Taken] = [
        *((UPLOADS, b"i", b"upload"), (UPLOADS, b"i", None)),  # a tombstone reaches it, too
        *((ENGAGEMENTS, b"u", b"first"), (ENGAGEMENTS, None, b"second"), (PROFILES, b"u", b"profile")),
    ]

    async def scenario() -> None:
        failures: list[BaseException] = []
        assignment = Assignment({PROFILES: ENGAGEMENTS}, failures.append)
        factories = {
            UPLOADS: lambda number: Noting(settings, number, taken, held=True),
            ENGAGEMENTS: lambda number: Noting(settings, number, taken, held=False),
        }
        await publish(settings, *sent)
        app = create_app(settings, assignment, factories, tmp_path)
        await app.start()
        try:
            await asyncio.to_thread(eventually, lambda: len(taken) >= len(sent))
            assert (len(assignment), assignment.generation) == (2, 1)
            expected = {ENGAGEMENTS: 2, PROFILES: 1}
            await asyncio.to_thread(eventually, lambda: expected.items() <= committed(settings).items())
            assert not committed(settings).get(UPLOADS), "committed, though it is not safe"
        finally:
            await app.stop()
            await assignment.stop()
        assert failures == []

    asyncio.run(scenario())
    for topic in (UPLOADS, ENGAGEMENTS, PROFILES):
        assert [each for each in taken if each[0] == topic] == [each for each in sent if each[0] == topic]


def credentials(tmp_path: Path, **given: Any) -> Any:
    settings = settings_from({"kafka": {"security": given}})
    return create_app(settings, Assignment({}, lambda _: None), {}, tmp_path).conf.broker_credentials


def bearer() -> str:
    """The hook of a test."""
    return "a token"


def test_faust_is_told_who_it_is_and_whom_it_trusts(tmp_path: Path) -> None:
    ca_file = str(make_certificates(tmp_path).ca)
    assert credentials(tmp_path) is None
    tls = credentials(tmp_path, **security("SSL", ca_file=ca_file))
    assert (tls.protocol, tls.context is None) == (AuthProtocol.SSL, False)
    plain = credentials(tmp_path, **security("SASL_PLAINTEXT", "SCRAM-SHA-512"))
    assert (plain.protocol, plain.mechanism.value) == (AuthProtocol.SASL_PLAINTEXT, "SCRAM-SHA-512")
    assert (plain.username, plain.password) == (USER, PASSWORD)
    both = credentials(tmp_path, **security("SASL_SSL", ca_file=ca_file))
    assert (both.protocol, both.ssl_context is None) == (AuthProtocol.SASL_SSL, False)
    hooked = credentials(tmp_path, protocol="SASL_PLAINTEXT", mechanism="OAUTHBEARER", token=f"{__name__}:bearer")
    assert isinstance(hooked, OAuthCredentials)
    assert asyncio.run(hooked.oauth_cb.token()) == "a token"
