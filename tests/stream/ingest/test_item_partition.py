"""The item partition on a real broker: what it publishes, and when again, also what only a dead owner's disk had."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from store.settings import Settings
from stream.kafka.dead_letters import read_letters
from stream.kafka.state_topics import CAUSED_AT, GENERATION, POSITION_KEY, decode_announcement
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.ingest.owners import KilledError, Owners, clicks, dying_at, owners_on, signal
from tests.stream.log import settings_on


async def die_between_disk_and_topic(owners: Owners) -> None:
    """Signal 0 is published; 1 to 4 are on the disk only."""
    await owners.publish("item-signals", signal(0, "i"))
    first = await owners.items("first")
    await owners.work(first)
    owners.close(first)
    await owners.publish("item-signals", *(signal(number, item) for number, item in enumerate("ijik", start=1)))
    dying = await owners.items("first")
    await owners.absorb(dying)
    dying._fault = dying_at("written")
    with pytest.raises(KilledError):
        await dying._publish_once()
    owners.close(dying)


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    name = f"item-partition-{uuid.uuid4().hex[:8]}."
    settings = settings_on(embedded_broker.bootstrap_servers, name, kafka={"partitions": 1})
    create_topics(settings)
    return settings


@pytest.mark.parametrize("again", [1, 2], ids=["restarted once", "restarted twice"])
def test_a_start_publishes_what_the_disk_has_beyond_the_topic_before_its_position(
    settings: Settings, again: int
) -> None:
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


def test_rows_are_published_once_for_all_that_changed_them_and_the_position_after_them(settings: Settings) -> None:
    async def scenario() -> None:
        async with owners_on(settings) as owners:
            await owners.publish("item-signals", *(signal(number, item) for number, item in enumerate("iji")))
            await owners.publish("item-signals", (b"k", b"no signal"))
            owner = await owners.items("here", generation=7)
            await owners.absorb(owner)
            before = len(await owners.log_of("item-states"))
            await owner._publish_once()
            *rows, position = (await owners.log_of("item-states"))[before:]
            assert {record.key for record in rows} == {b"i", b"j"}
            assert len(rows) == 2
            assert position.key == POSITION_KEY
            announcement = decode_announcement(position.value)
            assert (announcement.url, announcement.position.absorbed, announcement.partition) == ("http://here", 3, 0)
            assert {dict(record.headers)[GENERATION] for record in (*rows, position)} == {b"7"}
            assert dict(rows[0].headers)[CAUSED_AT] == b"1000", "when its oldest engagement came"
            assert (clicks(owner, "i"), clicks(owner, "j")) == (2, 1)

    asyncio.run(scenario())
    assert [(letter.topic, letter.offset) for letter in read_letters(settings)] == [(settings.topic("item-signals"), 3)]


def test_an_owner_at_work_publishes_again_what_others_have_got_wrong(settings: Settings) -> None:
    async def scenario() -> None:
        async with owners_on(settings) as owners:
            await owners.publish("item-signals", signal(0, "i"), signal(1, "i"))
            owner = await owners.items("here", generation=7)
            await owners.work(owner)
            working = asyncio.create_task(owner.run())
            await owner.restored.wait()

            async def records() -> list[bytes]:
                """Keys of what it has published when it has had time to."""
                await asyncio.sleep(2 * settings.store.item_publish_interval_s)
                return [record.key for record in await owners.log_of("item-states")]

            own, before = owner.side.rows.get("i"), await records()
            assert own is not None
            owner.heal("i", own.offset)
            owner.publish_again("never heard of")
            owner.contradict(7)
            assert await records() == before, "nothing was wrong"
            owner.heal("i", own.offset - 1)
            assert await records() == [*before, b"i", POSITION_KEY]
            owner.publish_again("i")
            assert await records() == [*before, *(b"i", POSITION_KEY) * 2]
            owner.contradict(6)
            assert await records() == [*before, *(b"i", POSITION_KEY) * 2, POSITION_KEY]
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            owners.forget(owner)

    asyncio.run(scenario())
