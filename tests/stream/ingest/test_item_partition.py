"""Rows that are on the disk of an item's owner and not yet on the state topic: whatever position it publishes, an owner
with another disk has every signal once."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from store.files.crash_points import Fault
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.ingest.owners import Owners, clicks, owners_on, signal
from tests.stream.log import settings_on


class KilledError(BaseException):
    """The process is gone."""


def killed_at(point: str) -> Fault:
    def fault(boundary: str) -> None:
        if boundary == point:
            raise KilledError

    return fault


async def die_between_disk_and_topic(owners: Owners) -> None:
    """Signal 0 is published; 1 to 4 are on the disk only."""
    await owners.publish("item-signals", signal(0, "i"))
    first = await owners.items("first")
    await owners.work(first)
    owners.close(first)
    await owners.publish("item-signals", *(signal(number, item) for number, item in enumerate("ijik", start=1)))
    dying = await owners.items("first")
    await owners.absorb(dying)
    dying._fault = killed_at("written")
    with pytest.raises(KilledError):
        await dying._publish_once()
    owners.close(dying)


@pytest.mark.parametrize("again", [1, 2], ids=["restarted once", "restarted twice"])
def test_a_start_publishes_what_the_disk_has_beyond_the_topic_before_its_position(
    embedded_broker: EmbeddedCluster, again: int
) -> None:
    name = f"unpublished-{uuid.uuid4().hex[:8]}."
    settings = settings_on(embedded_broker.bootstrap_servers, name, kafka={"partitions": 1})
    create_topics(settings)

    async def scenario() -> None:
        async with owners_on(settings) as owners:
            await die_between_disk_and_topic(owners)
            for _ in range(again):
                owners.close(await owners.items("first"))  # it announces itself, and dies before it reads anything
            other = await owners.items("other", generation=2)
            await owners.work(other)
            assert {item: clicks(other, item) for item in "ijk"} == {"i": 3, "j": 1, "k": 1}
            back = await owners.items("first", generation=3)
            await owners.work(back)
            assert {item: clicks(back, item) for item in "ijk"} == {"i": 3, "j": 1, "k": 1}

    asyncio.run(scenario())
