"""Take-downs are final: whatever is refreshed, read again, moved, or written late by a former owner. On a real broker;
what is live is what any reader of `semantic-ids` believes."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from store.events import Upload
from store.items import ItemCard
from store.log import LogRecord, cards
from store.rows import RowStore
from store.settings import Settings
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.take_downs import TakeDown
from stream.ingest.upload_partition import Cataloguing, UploadPartition
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.state_topics import hole_reader
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster
from tests.stream.ingest.test_lost_logs import anew
from tests.stream.log import read_topic, settings_on
from trainer.semantic_ids.cards import plain_card
from trainer.semantic_ids.codebook import zero_codebook

numbers = itertools.count()


@pytest.fixture
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, f"td{next(numbers)}.", kafka={"partitions": 1})
    create_topics(settings)
    return settings


class Ones:
    """An encoder to which all texts are equal."""

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.ones((len(texts), 64), np.float32) / 8


class Owner:
    """An uploads partition with a producer of its own. Its broadcast has read nothing until `hear`."""

    def __init__(self, settings: Settings, emitter: Emitter, executor: ThreadPoolExecutor, disk: Path | None) -> None:
        self.settings, self.emitter = settings, emitter
        self.known: dict[str, ItemCard] = {}
        self.closed = False
        codebook = zero_codebook(settings)
        cataloguing = Cataloguing(
            encoder=Ones(), codebook=lambda: codebook, known_card=self.known.get, executor=executor
        )
        context = PartitionContext(settings=settings, emitter=emitter, metrics=Metrics())
        rows = None if disk is None else RowStore(disk, TakeDown)
        self.partition = UploadPartition(0, context, cataloguing, rows)

    async def absorb(self, *records: Record) -> None:
        await self.emitter.settle(await self.partition.absorb(list(records)))

    async def hear(self) -> None:
        self.known.clear()
        self.known.update(await asyncio.to_thread(live, self.settings))

    async def work(self) -> None:
        """Restores, takes all that is delivered from the cursor on, publishes twice, and stops."""
        partition = self.partition
        await partition.restore()
        topic = self.settings.topic("uploads")
        begin = partition.cursors[topic].ahead or 0
        await partition._take([each async for each in hole_reader(self.settings)(topic, 0, begin)])
        await partition._publish_once()
        partition._told_at = -1e9
        await partition._publish_once()
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.partition.close()


def record(offset: int, key: bytes, value: bytes | None, at_ms: int, settings: Settings, came: int = -1) -> Record:
    return Record(settings.topic("uploads"), 0, offset, at_ms, key, value, lambda: None, came)


def upload(item: str, title: str = "t") -> bytes:
    return json.dumps({"item_id": item, "uploaded_at": 1.0, "title": title}).encode()


def old_cards(count: int) -> list[ItemCard]:
    part = {"text": np.ones(64, np.float16) / 8}
    made = [Upload(item_id=f"i{k}", uploaded_at=1.0, title="t" * 500, tags=["x" * 200] * 4) for k in range(count)]
    plain = [plain_card(each, part, 5000) for each in made]
    return [msgspec.structs.replace(card, codebook="old", codes=[0, 0, 0], upload_offset=2) for card in plain]


def said(settings: Settings) -> list[LogRecord]:
    found = read_topic(settings, "semantic-ids")
    return [LogRecord(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers) for r in found]


def live(settings: Settings) -> dict[str, ItemCard]:
    return cards(said(settings))


def was_ever_live(settings: Settings, item: str) -> list[bool]:
    """Whether the item is live after each record about it, for one who reads along."""
    found = said(settings)
    at = [place for place, each in enumerate(found, 1) if each.key == item.encode()]
    return [item in cards(found[:place]) for place in at]


Open = Callable[..., "asyncio.Future[Owner]"]


@asynccontextmanager
async def owners(settings: Settings) -> AsyncIterator[Open]:
    emitters: list[Emitter] = []
    opened_ones: list[Owner] = []
    with ThreadPoolExecutor(1) as executor:

        async def opened(disk: Path | None = None) -> Owner:
            emitters.append(Emitter(settings))
            await emitters[-1].start()
            opened_ones.append(Owner(settings, emitters[-1], executor, disk))
            return opened_ones[-1]

        try:
            yield opened  # type: ignore[misc]
        finally:
            for owner in opened_ones:
                owner.close()
            for emitter in emitters:
                await emitter.stop()


async def publish(settings: Settings, *pairs: tuple[str, bytes | None], came: int | None = None) -> None:
    emitter = Emitter(settings)
    await emitter.start()
    headers = [] if came is None else [("came_at_ms", str(came).encode())]
    for item, value in pairs:
        await emitter.settle([await emitter.send("uploads", value, key=item.encode(), partition=0, headers=headers)])
    await emitter.stop()


def test_a_refresh_in_flight_does_not_overtake_a_take_down(settings: Settings) -> None:
    async def scenario() -> None:
        async with owners(settings) as opened:
            owner = await opened()
            queue, queueing = owner.emitter.queue_rows, asyncio.Event()

            async def slow(*arguments, **options):
                queueing.set()
                await asyncio.sleep(0.1)  # the broker takes its time, with the chunk in hand
                return await queue(*arguments, **options)

            owner.emitter.queue_rows = slow
            owner.partition.reassign(old_cards(450))
            await queueing.wait()
            await owner.absorb(record(9, b"i449", None, 6000, settings))
            await owner.partition._reassigning
            assert was_ever_live(settings, "i449")[-1] is False
            assert said(settings)[-1].value is None
            owner.partition.reassign(old_cards(450))
            await owner.partition._reassigning
            assert [each.value for each in said(settings) if each.key == b"i449"][-1] is None

    asyncio.run(scenario())


def test_a_take_down_by_a_clock_that_is_behind_is_not_undone_by_a_refresh(settings: Settings) -> None:
    async def scenario() -> None:
        async with owners(settings) as opened:
            owner = await opened()
            await owner.absorb(record(10, b"i7", None, 2000, settings))  # three seconds before the card's own time
            owner.partition.reassign([card for card in old_cards(8) if card.item_id == "i7"])
            await owner.partition._reassigning
            assert [each.value for each in said(settings)] == [None]

    asyncio.run(scenario())


def test_a_former_owner_that_wakes_late_brings_nothing_back(settings: Settings) -> None:
    async def scenario() -> None:
        async with owners(settings) as opened:
            former, owner = await opened(), await opened()
            up, down = record(5, b"z", upload("z"), 6000, settings), record(6, b"z", None, 6000, settings)
            cards_of_former = await former.partition._encode([(msgspec.json.decode(up.value, type=Upload), up)])
            await owner.absorb(up, down)
            former.partition._encode = lambda _: asyncio.sleep(0, cards_of_former)  # it had come so far
            await former.absorb(up)
            assert was_ever_live(settings, "z") == [True, False, False]
            await owner.hear()
            await owner.partition.contradict("z")  # or compaction would keep the card
            assert [each.value is None for each in said(settings)] == [False, True, False, True]

    asyncio.run(scenario())


def test_a_former_owners_edit_does_not_undo_a_later_one(settings: Settings) -> None:
    async def scenario() -> None:
        async with owners(settings) as opened:
            former, owner = await opened(), await opened()
            await owner.absorb(record(5, b"z", upload("z", "one"), 6000, settings))
            await owner.absorb(record(7, b"z", upload("z", "two"), 6000, settings))
            await former.absorb(record(5, b"z", upload("z", "one"), 6000, settings))
            assert live(settings)["z"].title == "two"
            await owner.hear()
            await owner.partition.contradict("z")
            assert msgspec.json.decode(said(settings)[-1].value)["title"] == "two"

    asyncio.run(scenario())


@pytest.mark.parametrize("disk", ["kept", "wiped"])
def test_uploads_are_not_read_again_and_what_was_delivered_past_is(
    settings: Settings, tmp_path: Path, disk: str
) -> None:
    """The group's offsets are gone, or beyond: the position decides."""

    async def scenario() -> None:
        async with owners(settings) as opened:
            await publish(settings, ("a", upload("a")), ("b", upload("b")), ("a", None))
            await (await opened(tmp_path / "kept")).work()
            before = len(said(settings))
            await publish(settings, ("c", upload("c")), ("d", upload("d")))
            owner = await opened(tmp_path / disk)
            await owner.partition.restore()
            topic = settings.topic("uploads")
            assert owner.partition.cursors[topic].ahead == 3
            await owner.partition._take([record(0, b"a", upload("a"), 1, settings)])  # from the log's beginning
            assert len(said(settings)) == before
            await owner.partition._take([record(4, b"d", upload("d"), 1, settings)])  # Faust has left out 3
            await owner.partition._publish_once()
            assert set(live(settings)) == {"b", "c", "d"}
            owner.close()

    asyncio.run(scenario())


def test_an_upload_that_is_moved_here_again_brings_nothing_back(settings: Settings, tmp_path: Path) -> None:
    """Of an item that was uploaded with another partitioner, the upload stays in the wrong partition for ever, and is
    moved again whenever that is read again. It keeps the time at which it came."""

    async def scenario() -> None:
        async with owners(settings) as opened:
            await publish(settings, ("v", upload("v", "one")), came=1000)
            await publish(settings, ("w", upload("w", "one")), came=1000)
            await publish(settings, ("v", None), ("w", upload("w", "two")))
            await publish(settings, ("v", upload("v", "one")), ("w", upload("w", "one")), came=1000)
            owner = await opened(tmp_path / "disk")
            await owner.work()
            assert {item: card.title for item, card in live(settings).items()} == {"w": "two"}
            await publish(settings, ("w", None), came=1000)  # a take-down from before the edit, moved again
            again = await opened(tmp_path / "disk")
            await again.hear()
            await again.work()
            assert set(live(settings)) == {"w"}
            await publish(settings, ("v", upload("v", "new")))
            await (await opened(tmp_path / "disk")).work()
            assert live(settings)["v"].title == "new"  # uploaded again, it is live again

    asyncio.run(scenario())


@pytest.mark.parametrize("disk", ["disk", "wiped"])
def test_a_take_down_outlasts_both_topics(settings: Settings, tmp_path: Path, disk: str) -> None:
    """Compaction ends it on both within a day or so; its owner remembers."""

    async def scenario() -> None:
        async with owners(settings) as opened:
            await publish(settings, ("v", upload("v")), ("v", None), ("k", upload("k")))
            await (await opened(tmp_path / "disk")).work()
            await anew(settings, "semantic-ids")
            await publish(settings, ("v", upload("v")), came=1000)
            await (await opened(tmp_path / disk)).work()
            assert set(live(settings)) == {"k"}  # which was lost with the topic, and is back

    asyncio.run(scenario())


def test_of_an_item_twice_in_one_frame_the_later_counts(settings: Settings) -> None:
    async def scenario() -> None:
        async with owners(settings) as opened:
            owner = await opened()
            framed = b'{"events":[%s,%s]}' % (upload("f", "one"), upload("f", "two"))
            await owner.absorb(record(3, b"f", framed, 6000, settings))
            assert [msgspec.json.decode(each.value)["title"] for each in said(settings)] == ["two"]

    asyncio.run(scenario())
