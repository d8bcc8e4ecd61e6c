"""The door: whoever uses kafka-python comes in although the first servers of the list stand still."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from store.log import Log, LogError
from store.settings import Settings, settings_from
from store.topics import CHECKPOINTS
from stream.kafka.connections import BrokerUnavailableError, admin_client
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from trainer.runs.leadership import Leadership
from trainer.runs.run_log import RunLog

SILENT = 4


@pytest.fixture
def silent() -> Iterator[list[str]]:
    """Servers that take connections and say nothing."""
    with contextlib.ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(SILENT)]
        yield [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]


def settings_of(servers: list[str]) -> Settings:
    kafka = {"bootstrap_servers": ",".join(servers), "topic_prefix": "door.", "group": "door", "partitions": 1}
    return settings_from({"kafka": {**kafka, "connect_timeout_s": 1.5}})


def test_the_trainers_clients_come_in_behind_servers_that_stand_still(
    silent: list[str], embedded_broker: EmbeddedCluster
) -> None:
    create_topics(settings_of([embedded_broker.bootstrap_servers]))
    settings = settings_of([*silent, embedded_broker.bootstrap_servers])
    leadership = Leadership(settings)
    leadership.start()
    with Log(settings.kafka) as log:
        run_log = RunLog(settings, log)
        run_log.report(["a run"], "started")
        assert log.ends(settings.topic(CHECKPOINTS)) == {0: 1}
        run_log.close()
    until = time.monotonic() + 20
    while leadership.standing != "leading" and time.monotonic() < until:
        time.sleep(0.02)
    assert leadership.standing == "leading"
    leadership.close()


def test_where_nobody_answers_a_reader_and_a_command_say_so_within_the_time(silent: list[str]) -> None:
    settings, began = settings_of(silent), time.monotonic()
    with pytest.raises(LogError, match="did not answer"), Log(settings.kafka) as log:
        log.ends("anything")
    with pytest.raises(BrokerUnavailableError, match="answered within"), admin_client(settings):
        pass
    assert time.monotonic() - began < 6
