"""Sending what lies in a spill: what cannot be sent is told, stays, and holds nothing else up."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestream import Publisher
from store.settings import Settings
from stream.client.spilling.spill import FILE, Spill, Spilled
from stream.kafka.deliveries import DeliveryError
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on
from tests.waiting import eventually

ROOMY = 1 << 30


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster, request: pytest.FixtureRequest) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, f"{request.node.name}.")
    create_topics(settings)
    return settings


def lay_down(folder: Path, settings: Settings, *values: bytes) -> None:
    """A spill as an earlier process left it."""
    spill = Spill(folder, ROOMY)
    spill.append([Spilled(settings.topic("uploads"), 1, b"k", value, 5, 1) for value in values])
    spill.close()


def values_of(settings: Settings) -> list[bytes]:
    return [record.value for record in read_topic(settings, "uploads")]


def test_many_chunks_come_in_their_order_and_leave_an_empty_file(settings: Settings, tmp_path: Path) -> None:
    values = [b"%d" % number for number in range(3000)]
    lay_down(tmp_path, settings, *values)
    with Publisher(settings=settings, spill=tmp_path) as publisher:
        assert publisher.waiting > 0
        publisher.flush()
        assert (publisher.waiting, publisher.spilled) == (0, 0), "spilled by another process"
    assert values_of(settings) == values
    spill = Spill(tmp_path, ROOMY)
    assert (spill.events, spill.bytes) == (0, 0)
    spill.close()


def test_a_record_that_no_broker_takes_is_told_stays_and_stops_no_other(settings: Settings, tmp_path: Path) -> None:
    lay_down(tmp_path, settings, b"before", bytes(17 << 20), b"after")
    publisher = Publisher(settings=settings, spill=tmp_path)
    eventually(lambda: publisher.waiting == 0)
    with pytest.raises(DeliveryError, match=r"record 2 of .*spill\.sqlite3 cannot be sent .*it stays there"):
        publisher.close()
    assert values_of(settings) == [b"before", b"after"]
    spill = Spill(tmp_path, ROOMY)
    assert spill.events == 1
    spill.close()


def test_a_record_that_the_disk_has_changed_is_told_and_not_sent(settings: Settings, tmp_path: Path) -> None:
    lay_down(tmp_path, settings, b"before", b"this is what was published", b"after")
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content.replace(b"what was published", b"what was punished."))
    publisher = Publisher(settings=settings, spill=tmp_path)
    eventually(lambda: publisher.waiting == 0)
    with pytest.raises(DeliveryError, match=r"record 2 of .* cannot be sent \(the disk has changed it\)"):
        publisher.close()
    assert values_of(settings) == [b"before", b"after"]


def test_a_partition_that_is_refused_waits_and_the_others_are_sent(settings: Settings, tmp_path: Path) -> None:
    lay_down(tmp_path, settings, b"sent")
    spill = Spill(tmp_path, ROOMY)
    spill.append([Spilled("no.such.topic", 0, b"k", b"v", 5, 7)])
    spill.close()
    publisher = Publisher(settings=settings, spill=tmp_path, delivery_timeout_s=1.0)
    eventually(lambda: publisher.waiting == 7)
    publisher.close(0.1)
    assert values_of(settings) == [b"sent"]
