"""The user partition on a real broker: what is scored, and what goes to `ranking-examples`, in the order of the log."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable

import pytest

from store.envelopes.reading import EventReader
from store.events import Engagement
from store.histories import HistoryRules, UserRow
from store.keys import partition_of
from store.records.frames import frame
from store.rows import RowStore
from store.settings import Settings
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.user_partition import UserPartition
from stream.ingest.user_side import UserSide
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster
from tests.folders import memory_folder
from tests.stream.log import read_topic, settings_on

USER = next(f"u{n}" for n in range(99) if partition_of(f"u{n}", 4) == 0)


class Scores:
    """Scores everything: an outcome names its event, an example how much of the history came before."""

    def outcome(self, event: Engagement) -> bytes | None:
        return f"outcome {event.event_id}".encode() if event.kind == "like" else None

    def examine(self, event: Engagement, row_before: Callable[[], UserRow]) -> bytes | None:
        return f"example {event.event_id} after {[entry.event_id for entry in row_before().entries]}".encode()


def engagement(number: int, kind: str) -> bytes:
    event = {"event_id": f"e{number}", "user_id": USER, "item_id": f"i{number}", "kind": kind, "occurred_at": number}
    return json.dumps(event).encode()


async def absorb(settings: Settings, rows: RowStore[UserRow], *batches: list[bytes]) -> None:
    """Takes batches of records, the offsets of each from 0 on, as after a crash."""
    emitter = Emitter(settings)
    await emitter.start()
    side = UserSide(0, settings.kafka.partitions, rows, HistoryRules({"like": 1.0}), EventReader())
    partition = UserPartition(
        side, PartitionContext(settings=settings, emitter=emitter, metrics=Metrics()), Scores(), lambda: 100.0
    )
    topic = settings.topic("engagements")
    for values in batches:
        taken = [Record(topic, 0, n, 5_000, USER.encode(), value, lambda: None) for n, value in enumerate(values)]
        await emitter.settle(await partition.absorb(taken))
    partition.close()
    await emitter.stop()


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "user-partition.", kafka={"partitions": 4})
    create_topics(settings)
    return settings


def test_an_engagement_is_scored_once_before_it_is_learned_from_and_its_outcome_told_whenever_it_is_read(
    settings: Settings,
) -> None:
    folder = memory_folder()
    first, second, repeated = engagement(0, "click"), engagement(1, "like"), engagement(0, "click")
    records = [frame([first, second]), repeated]
    asyncio.run(absorb(settings, RowStore(folder / "rows", UserRow), records, records))
    shutil.rmtree(folder)
    examples = [record.value for record in read_topic(settings, "ranking-examples")]
    assert examples == [b"example e0 after []", b"outcome e1", b"example e1 after ['e0']", b"outcome e1"]
