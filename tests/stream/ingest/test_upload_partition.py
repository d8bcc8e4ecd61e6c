"""The upload partition on a real broker: cards, tombstones, strays and what is refused, in the order of the log."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import msgspec

from store.items import ItemCard
from store.keys import partition_of
from store.records.canaries import canary_id, upload_canary
from store.settings import Settings
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.upload_partition import Cataloguing, UploadPartition
from stream.kafka.dead_letters import read_letters, replay
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster
from tests.store.envelopes.wrapped import change, cloud_event
from tests.stream.log import read_topic, settings_on
from trainer.content.encoders import text_encoder
from trainer.semantic_ids.codebook import zero_codebook

PARTITIONS = 4
MINE = [item for item in (f"i{n}" for n in range(99)) if partition_of(item, PARTITIONS) == 0]
STRAY = next(item for item in (f"i{n}" for n in range(99)) if partition_of(item, PARTITIONS) == 1)


def upload(item_id: str, title: str) -> bytes:
    return json.dumps({"item_id": item_id, "uploaded_at": 1, "title": title, "unknown": 1}).encode()


async def absorb(settings: Settings, metrics: Metrics, *records: tuple[bytes | None, bytes | None]) -> None:
    """Takes (key, value) pairs as records of partition 0."""
    emitter = Emitter(settings)
    await emitter.start()
    with ThreadPoolExecutor(1) as executor:
        codebook = zero_codebook(settings)
        cataloguing = Cataloguing(
            encoder=text_encoder("static"),
            codebook=lambda: codebook,
            known_card=lambda _: None,
            executor=executor,
        )
        context = PartitionContext(settings=settings, emitter=emitter, metrics=metrics)
        partition = UploadPartition(0, context, cataloguing)
        topic = settings.topic("uploads")
        taken = [Record(topic, 0, n, 5_000, key, value, lambda: None) for n, (key, value) in enumerate(records)]
        await emitter.settle(await partition.absorb(taken))
        partition.close()
    await emitter.stop()


def test_uploads_and_tombstones_keep_their_order_and_the_rest_goes_where_it_belongs(
    embedded_broker: EmbeddedCluster,
) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "up1.")
    create_topics(settings)
    metrics = Metrics()
    first, second = MINE[:2]
    framed = b'{"events":[%s,%s,%s]}' % (upload(second, "b"), upload(STRAY, "s"), upload(first, "edited"))
    records = [
        (first.encode(), upload(first, "a")),
        (first.encode(), None),
        (None, framed),
        (second.encode(), None),
        (STRAY.encode(), None),
        (b"k", b"{"),
    ]
    asyncio.run(absorb(settings, metrics, *records))
    cards = [
        (r.key.decode(), r.value and msgspec.json.decode(r.value, type=ItemCard).title)
        for r in read_topic(settings, "semantic-ids")
    ]
    assert cards == [(first, "a"), (first, None), (second, "b"), (first, "edited"), (second, None)]
    assert [(r.key, r.value, r.partition) for r in read_topic(settings, "uploads")] == [
        (STRAY.encode(), upload(STRAY, "s"), 1),
        (STRAY.encode(), None, 1),
    ]
    assert [(letter.reason, letter.offset) for letter in read_letters(settings)] == [("not_json", 5)]
    recorded = metrics.registry.get_sample_value("sidestream_events_total", {"topic": "uploads", "result": "absorbed"})
    assert recorded == 5


def test_rows_and_envelopes_are_uploads_and_a_deleted_row_is_a_take_down(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "up5.")
    create_topics(settings)
    first, second = MINE[:2]
    row = {"item_id": first, "uploaded_at": "1970-01-01T00:00:01Z", "title": "row"}
    stray = {"item_id": STRAY, "uploaded_at": "1970-01-01T00:00:01Z", "title": "stray"}
    values = [
        change(row),
        cloud_event({"item_id": second, "uploaded_at": 1, "title": "event"}),
        change({**row, "title": "edited"}, "u", before=row),
        change(None, "d", before=row),
        change(stray),
        change(None, "d", before=stray),
    ]
    tombstone = (json.dumps({"schema": {}, "payload": {"item_id": first}}).encode(), None)
    asyncio.run(absorb(settings, Metrics(), *((b'{"id":1}', value) for value in values), tombstone))
    cards = [
        (r.key.decode(), r.value and msgspec.json.decode(r.value, type=ItemCard).title)
        for r in read_topic(settings, "semantic-ids")
    ]
    assert cards == [(first, "row"), (second, "event"), (first, "edited"), (first, None), (first, None)]
    moved = [(r.key, r.value, r.partition) for r in read_topic(settings, "uploads")]
    assert [(key, partition) for key, _, partition in moved] == [(STRAY.encode(), 1)] * 2
    assert [value and json.loads(value)["title"] for _, value, _ in moved] == ["stray", None]
    assert list(read_letters(settings)) == []


def test_the_letter_of_an_envelope_is_whole_and_counts_when_it_is_sent_again(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "up6.")
    create_topics(settings)
    value, key = change({"sku": MINE[0], "uploaded_at": "1970-01-01T00:00:01Z"}), MINE[0].encode()
    asyncio.run(absorb(settings, Metrics(), (key, value)))
    (letter,) = read_letters(settings)
    assert (letter.reason, letter.value) == ("missing_field", value)
    assert "in after of a Debezium envelope" in letter.detail
    assert "`item_id`" in letter.detail
    replay(settings, [letter])
    again = [(r.key, r.value) for r in read_topic(settings, "uploads")]
    assert again == [(key, value)]
    mapped = {"envelopes": {"uploads": {"item_id": "sku"}}}
    mended = settings_on(embedded_broker.bootstrap_servers, "up6.", kafka=mapped)
    asyncio.run(absorb(mended, Metrics(), *again))
    assert [r.key for r in read_topic(settings, "semantic-ids")] == [key]


def test_a_tombstone_that_names_no_item_is_refused_and_stops_nothing(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "up2.")
    create_topics(settings)
    keys = [None, b"\xff\xfe", b"\x00position", b" i", b"i" * 300]
    item = MINE[0].encode()
    asyncio.run(absorb(settings, Metrics(), *((key, None) for key in keys), (item, None)))
    letters = list(read_letters(settings))
    assert [(letter.key, letter.value) for letter in letters] == [(key, None) for key in keys]
    assert [letter.reason for letter in letters] == ["missing_field"] + ["wrong_type"] * 4
    assert [(r.key, r.value) for r in read_topic(settings, "semantic-ids")] == [(item, None)]
    assert read_topic(settings, "uploads") == []


def test_a_canary_takes_the_way_of_a_card_and_is_none(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker.bootstrap_servers, "up3.")
    create_topics(settings)
    metrics = Metrics()
    metrics.canaries.watch("upload_to_semantic_id", {0})
    own = canary_id(0, PARTITIONS).encode()
    canary = upload_canary(0, PARTITIONS, 1.0)
    asyncio.run(
        absorb(settings, metrics, (None, upload(MINE[0], "a")), (own, canary), (own, upload(own.decode(), "x")))
    )
    found = [(r.key, bool(r.value), dict(r.headers)) for r in read_topic(settings, "semantic-ids")]
    assert found == [(MINE[0].encode(), True, {}), (own, False, {"canary_at_ms": b"5000"})]
    assert [(letter.reason, letter.offset) for letter in read_letters(settings)] == [("reserved_id", 2)]
    assert metrics.canaries.ages_s()["upload_to_semantic_id"].keys() == {0}
    recorded = metrics.registry.get_sample_value("sidestream_events_total", {"topic": "uploads", "result": "absorbed"})
    assert recorded == 1
