"""The probe asks every server, and says what the first that answers has against this client."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from store.security import find_server
from store.settings import Settings, settings_from
from stream.kafka.connections import BrokerRefusedError, BrokerUnavailableError, admin_client
from tests.clusters import EmbeddedCluster


def settings_of(*servers: str, timeout_s: float = 4.0) -> Settings:
    return settings_from({"kafka": {"bootstrap_servers": ",".join(servers), "connect_timeout_s": timeout_s}})


@pytest.fixture
def silent() -> Iterator[str]:
    """A broker that stands still: connections are taken, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield f"127.0.0.1:{door.getsockname()[1]}"


@pytest.fixture
def hanging_up() -> Iterator[str]:
    """A broker that ends every connection at its first request, as one that expects SASL or is being restarted."""
    door = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = door.accept()
                with connection:
                    connection.recv(64)

    thread = threading.Thread(target=hang_up, daemon=True)
    thread.start()
    yield f"127.0.0.1:{door.getsockname()[1]}"
    door.shutdown(socket.SHUT_RDWR)
    door.close()
    thread.join()


@pytest.fixture
def away() -> str:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        return f"127.0.0.1:{door.getsockname()[1]}"


@pytest.mark.parametrize("first", ["silent", "hanging_up", "away"])
def test_the_next_server_is_asked(first: str, request: pytest.FixtureRequest, embedded_broker: EmbeddedCluster) -> None:
    settings = settings_of(request.getfixturevalue(first), embedded_broker.bootstrap_servers)
    assert find_server(settings.kafka) == embedded_broker.bootstrap_servers
    with admin_client(settings) as admin:
        assert isinstance(admin.list_topics(), list)


def test_silent_servers_take_no_longer_than_one(silent: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        find_server(settings_of(silent, silent, silent, timeout_s=1.5).kafka)
    assert time.monotonic() - begun < 4.0


def test_nobody_there(away: str) -> None:
    with pytest.raises(ConnectionRefusedError):
        find_server(settings_of(away).kafka)


def test_a_server_that_is_away_costs_no_time(away: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        find_server(settings_of(away, away, away).kafka)
    assert time.monotonic() - begun < 1.0


def test_a_silent_server_is_no_refusal(silent: str, away: str) -> None:
    settings = settings_of(away, silent, timeout_s=1.0)
    with pytest.raises(BrokerUnavailableError, match="answered within") as unavailable, admin_client(settings):
        pass
    assert not isinstance(unavailable.value, BrokerRefusedError)


def test_who_waits_for_a_broker_waits_on_when_it_hangs_up(hanging_up: str) -> None:
    with pytest.raises(BrokerUnavailableError, match="ends the connection"), admin_client(settings_of(hanging_up)):
        pass
