"""Ports: what was asked for or a refusal, what was used before if it is free, and whose a port is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from stream.up.ports import PortTakenError, answers, choose, free_port, is_free, listens, port_of


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def quiet(_: str) -> None: ...


def test_what_was_asked_for_or_a_refusal(taken: int) -> None:
    free = free_port()
    assert choose(free, None, taken, "--web-port", quiet) == free
    with pytest.raises(PortTakenError, match=f"port {taken} is in use by pid {os.getpid()}: give another --web-port"):
        choose(taken, free, free, "--web-port", quiet)
    assert choose(0, taken, taken, "--web-port", quiet) not in (0, taken)


def test_the_last_the_usual_or_a_free_one(taken: int) -> None:
    last, usual = free_port(), free_port()
    told: list[str] = []
    assert choose(None, last, usual, "--web-port", told.append) == last
    assert choose(None, taken, usual, "--web-port", told.append) == usual
    assert told == []
    port = choose(None, None, taken, "--web-port", told.append)
    assert is_free(port)
    assert told == [f"port {taken} is in use by pid {os.getpid()}: using {port} instead of it (--web-port)"]


def test_whose_it_is(taken: int) -> None:
    assert answers(taken)
    assert listens(os.getpid(), taken) is True
    assert listens(os.getppid(), taken) is False
    assert listens(os.getpid(), free_port()) is False
    assert not answers(free_port())


@pytest.mark.parametrize(
    ("address", "port"),
    [("127.0.0.1:9092", 9092), ("http://[::1]:8470/", 8470), ("nothing", None), (None, None), ("a:b", None)],
)
def test_the_port_of_an_address(address: object, port: int | None) -> None:
    assert port_of(address) == port
