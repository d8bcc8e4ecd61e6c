"""A running worker and the topics under it, on real brokers: created anew, cut, given more partitions."""

from __future__ import annotations

import asyncio

import pytest
from kafka import KafkaAdminClient, TopicPartition

from store.settings import Settings
from stream.kafka.log_identity import LogReplacedError
from stream.kafka.log_watch import LogWatch
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.stream.ingest.test_lost_logs import anew, grow, one_partition, publish


@pytest.fixture
def settings(cluster: EmbeddedCluster | KafkaCluster) -> Settings:
    return one_partition(cluster)


async def watched(settings: Settings, change, reached: dict[tuple[str, int], int]) -> str:
    """What the watch says of a change under a running worker."""
    watch = asyncio.create_task(LogWatch(settings, lambda: reached, interval_s=0.05).run())
    await asyncio.sleep(0.5)
    assert not watch.done()
    await change()
    with pytest.raises(LogReplacedError) as found:
        await asyncio.wait_for(watch, 20)
    return str(found.value)


@pytest.mark.parametrize("name", ["engagements", "semantic-ids", "checkpoints"])
def test_a_running_worker_hears_of_a_topic_created_anew(settings: Settings, name: str) -> None:
    said = asyncio.run(watched(settings, lambda: anew(settings, name), {}))
    assert f"{settings.topic(name)} was created anew" in said


def test_a_running_worker_hears_of_partitions_that_were_added(settings: Settings) -> None:
    said = asyncio.run(watched(settings, lambda: asyncio.to_thread(grow, settings, "profiles"), {}))
    assert "has 3 partitions, and rows lie where 1 put them" in said


def test_a_running_worker_hears_of_partitions_that_checkpoints_was_given(settings: Settings) -> None:
    said = asyncio.run(watched(settings, lambda: asyncio.to_thread(grow, settings, "checkpoints"), {}))
    assert "was given 3 partitions, and order matters" in said


def test_a_running_worker_hears_of_a_log_that_ends_before_what_it_has_read(settings: Settings) -> None:
    place = (settings.topic("engagements"), 0)
    reached = {place: 0}

    async def change() -> None:
        await publish(settings, 1)
        reached[place] = 5

    assert "ends at 1, and was read up to 4" in asyncio.run(watched(settings, change, reached))


def test_the_watch_needs_the_ends_as_the_broker_says_them(settings: Settings) -> None:
    """Nothing is found where all is well, whatever retention has taken."""

    async def scenario() -> None:
        await publish(settings, 1, 2, 3)
        await asyncio.to_thread(drop_all, settings)
        place = (settings.topic("engagements"), 0)
        watch = asyncio.create_task(LogWatch(settings, lambda: {place: 3}, interval_s=0.05).run())
        await asyncio.sleep(1.0)
        assert not watch.done()
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    asyncio.run(scenario())


def drop_all(settings: Settings) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(settings.topic("engagements"), 0): 3})
    admin.close()
