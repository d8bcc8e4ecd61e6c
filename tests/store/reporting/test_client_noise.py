"""Client noise: what clients repeat is one line a minute, none while an outage is told of; our own lines all pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from store.reporting.client_noise import CLIENTS, ClientNoise
from store.reporting.outages import Outage


class Lines(logging.Handler):
    """What passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.addFilter(ClientNoise(clock=lambda: self.now))
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What passes, whatever commands that ran in this process before have silenced."""
    handler, root = Lines(), logging.getLogger()
    for client in CLIENTS:  # every test finds them as they were (`tests.conftest`)
        logging.getLogger(client).setLevel(logging.NOTSET)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def test_a_client_that_repeats_itself_is_told_once_a_minute_with_how_often(lines: Lines) -> None:
    for second in range(61):
        lines.now = float(second)
        for client in ("aiokafka.conn", "faust", "kafka.net.manager", "mode.x"):
            logging.getLogger(client).error("no connection to node %s", second)
    assert lines.told == ["no connection to node 0", "no connection to node 60 (239 more errors of clients before)"]


def test_while_an_outage_lasts_only_who_knows_what_it_means_tells_of_it(lines: Lines) -> None:
    ours, theirs = logging.getLogger("stream.test"), logging.getLogger("aiokafka.conn")
    outage = Outage(ours, "no broker answers", "nothing is absorbed")
    ours.setLevel(logging.INFO)
    outage.met("refused")
    for _ in range(1000):
        theirs.error("no connection")
    ours.error("a fault of our own")
    outage.over()
    theirs.error("and another thing")
    assert lines.told == [
        "no broker answers (refused): nothing is absorbed",
        "a fault of our own",
        "over after 0 s: no broker answers",
        "and another thing",
    ]


def test_what_clients_say_below_an_error_passes_where_somebody_asked_for_it(lines: Lines) -> None:
    client = logging.getLogger("aiokafka.quiet")
    client.setLevel(logging.INFO)
    for _ in range(3):
        client.info("a detail")
    assert lines.told == ["a detail"] * 3
