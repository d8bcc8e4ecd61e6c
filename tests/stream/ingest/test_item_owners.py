"""Item owners: a changed codebook reaches the partitions at work here, and nobody is told of those that are not."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from store.items import ItemCard, ItemRow
from store.keys import partition_of
from store.rows import RowStore
from store.settings import Settings
from store.topics import ITEM_SIGNALS, ITEM_STATES, SEMANTIC_IDS, UPLOADS
from stream.ingest.assignment import Assignment
from stream.ingest.item_owners import ItemOwners
from stream.ingest.item_partition import ItemPartition
from stream.ingest.item_side import ItemSide
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.upload_partition import Cataloguing, UploadPartition
from stream.kafka.emitter import Emitter
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster
from tests.item_vectors import item_vectors
from tests.small_world import card
from tests.stream.log import read_topic, settings_on
from tests.waiting import eventually
from trainer.content.encoders import text_encoder
from trainer.items.item_learning import ItemRules
from trainer.semantic_ids.codebook import zero_codebook

CARDS = [card(number) for number in range(20)]


def cards_of(settings: Settings, number: int) -> list[ItemCard]:
    return [one for one in CARDS if partition_of(one.item_id, settings.kafka.partitions) == number]


async def reassign(settings: Settings, at_work: list[int], expected: int) -> None:
    """Until so many cards are `expected` to have been published."""
    emitter = Emitter(settings)
    await emitter.start()
    failures: list[BaseException] = []
    assignment = Assignment({}, failures.append)
    context = PartitionContext(settings=settings, emitter=emitter, metrics=Metrics())
    codebook = zero_codebook(settings)
    with ThreadPoolExecutor(1) as executor:
        cataloguing = Cataloguing(
            encoder=text_encoder("static"), codebook=lambda: codebook, known_card=lambda _: None, executor=executor
        )
        make = partial(UploadPartition, context=context, cataloguing=cataloguing)
        await assignment.assign([(UPLOADS, number) for number in at_work], 1, {UPLOADS: make})
        caught_up = asyncio.Event()
        caught_up.set()
        owners = ItemOwners(assignment, settings.kafka.partitions)
        owners.reassign(partial(cards_of, settings))
        assert not assignment.restored(), "their cards follow when they are"
        keeping = asyncio.create_task(owners.keep_cards(caught_up))
        await asyncio.to_thread(eventually, lambda: len(read_topic(settings, SEMANTIC_IDS)) >= expected)
        keeping.cancel()
        await assignment.stop()
    await emitter.stop()
    assert failures == []


def test_the_cards_of_the_partitions_at_work_are_published_under_the_codebook_that_serves(
    embedded_broker: EmbeddedCluster,
) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "item-owners.", kafka={"partitions": 3})
    create_topics(settings)
    expected = {one.item_id for number in (0, 2) for one in cards_of(settings, number)}
    asyncio.run(reassign(settings, [0, 2], len(expected)))
    published = [msgspec.json.decode(record.value, type=ItemCard) for record in read_topic(settings, SEMANTIC_IDS)]
    assert {one.item_id for one in published} == expected != set()
    assert {one.codebook for one in published} == {zero_codebook(settings).version}


def test_a_row_that_is_wanted_of_a_partition_that_is_being_restored_is_published_when_it_is(
    embedded_broker: EmbeddedCluster, tmp_path: Path
) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "item-owners-wanted.", kafka={"partitions": 1})
    create_topics(settings)

    async def want() -> None:
        emitter = Emitter(settings)
        await emitter.start()
        failures: list[BaseException] = []
        assignment = Assignment({}, failures.append)
        context = PartitionContext(settings=settings, emitter=emitter, metrics=Metrics())
        rows = RowStore(tmp_path / "rows", ItemRow)
        rows.write({"i": ItemRow(4, {1: 3})})
        side = ItemSide(0, rows, ItemRules(), item_vectors(tmp_path / "vectors"))
        owners = ItemOwners(assignment, 1)
        owners.wanted(0, "i")  # nobody has the partition yet
        make = partial(ItemPartition, context=context, rows_per_s=lambda: 1e9, url="")
        caught_up = asyncio.Event()
        caught_up.set()
        keeping = asyncio.create_task(owners.keep_cards(caught_up))
        await assignment.assign([(ITEM_SIGNALS, 0)], 1, {ITEM_SIGNALS: lambda _: make(side)})
        await asyncio.to_thread(
            eventually, lambda: b"i" in {record.key for record in read_topic(settings, ITEM_STATES)}
        )
        keeping.cancel()
        await assignment.stop()
        await emitter.stop()
        assert failures == []

    asyncio.run(want())


def test_nobody_is_told_of_a_partition_that_is_not_here() -> None:
    failures: list[BaseException] = []
    owners = ItemOwners(Assignment({}, failures.append), 4)
    owners.heal(1, "i", -1)
    owners.announced(1, 7)
    owners.reassign(lambda number: CARDS)
    assert failures == []


def test_a_row_that_is_wanted_of_another_workers_partition_is_asked_of_it_once() -> None:
    told: list[tuple[int, str]] = []

    def elsewhere(number: int, item_id: str) -> bool:
        told.append((number, item_id))
        return number == 1

    owners = ItemOwners(Assignment({}, lambda _: None), 2, elsewhere)
    owners.wanted(0, "nobody's")
    owners.wanted(1, "theirs")
    for _ in range(2):
        owners._want_again()
    assert told == [(0, "nobody's"), (1, "theirs"), (0, "nobody's")]
