"""Refusals: every letter fits its topic, whatever was refused, and says what it could not keep."""

from __future__ import annotations

import asyncio
import os

import pytest

from store.events import Limits, Refusal, decode_engagements
from store.settings import Settings
from stream.ingest.protocol.refusals import MOST_BYTES, MOST_KEY_BYTES, letter_of, send_refusals, send_strays
from stream.kafka.dead_letters import decode, read_letters
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record, Refused, Stray
from stream.kafka.topics import create_topics
from stream.metrics.metrics import Metrics
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on

LARGEST = 16 << 20


def record(value: bytes | None, key: bytes | None = b"k", offset: int = 7) -> Record:
    return Record("ref.uploads", 2, offset, 0, key, value, lambda: None)


def test_a_letter_holds_where_it_came_from_and_its_bytes() -> None:
    letter = letter_of(record(b"frame"), Refusal("not_json", "mend it", b"event"))
    assert (letter.reason, letter.detail, letter.key, letter.value) == ("not_json", "mend it", b"k", b"event")
    assert (letter.topic, letter.partition, letter.offset) == ("ref.uploads", 2, 7)
    assert decode(letter.encode()) == letter


def test_an_empty_record_stays_empty() -> None:
    """So that replaying it is a tombstone again."""
    assert letter_of(record(None), Refusal("missing_field", "no key", b"")).value is None


@pytest.mark.parametrize("size", [0, MOST_BYTES - 1, MOST_BYTES, LARGEST])
def test_as_many_first_bytes_are_kept_as_fit(size: int) -> None:
    value = os.urandom(size)
    letter = letter_of(record(value), Refusal("oversized", "too large", value))
    assert letter.value is not None
    assert value.startswith(letter.value)
    assert len(letter.value) == min(size, MOST_BYTES - 1)
    assert (f"first {MOST_BYTES - 1} of {size} bytes" in letter.detail) == (size >= MOST_BYTES)
    assert len(letter.encode()) < LARGEST - (64 << 10)


def test_a_large_key_and_a_long_detail_are_cut_too() -> None:
    event = b'{"event_id":"e","user_id":"u","item_id":"i","occurred_at":1,"kind":"%s"}' % (b"\\u0001" * 900_000)
    refusal = decode_engagements(event, now=1.0, limits=Limits(max_record_bytes=LARGEST)).refusals[0]
    letter = letter_of(record(event, key=b"k" * (10 << 20)), refusal)
    assert letter.reason == "unknown_kind"
    assert letter.key == b"k" * MOST_KEY_BYTES
    assert f"first {MOST_KEY_BYTES} of {10 << 20}" in letter.detail
    assert letter.value == event
    assert len(letter.encode()) < LARGEST - (64 << 10)


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "ref.")
    create_topics(settings)
    return settings


def test_the_largest_record_does_not_stop_the_worker(settings: Settings) -> None:
    value = b"{" * LARGEST
    metrics = Metrics()

    async def scenario() -> None:
        emitter = Emitter(settings)
        await emitter.start()
        refused = [Refused(record(value), Refusal("oversized", "too large", value))]
        refused.append(Refused(record(b"x", offset=8), Refusal("not_json", "mend it", b"x")))
        await emitter.settle(await send_refusals(emitter, metrics, "uploads", refused))
        strays = [Stray("uploads", b"item-1", b'{"a":1}', 7, b"00-trace"), Stray("uploads", b"item-1", None, 8)]
        await emitter.settle(await send_strays(emitter, "uploads", strays))
        await emitter.stop()

    asyncio.run(scenario())
    large, small = read_letters(settings)
    assert large.value == value[: MOST_BYTES - 1]
    assert (small.value, small.offset) == (b"x", 8)
    assert [(found.key, found.value) for found in read_topic(settings, "uploads")] == [
        (b"item-1", b'{"a":1}'),
        (b"item-1", None),
    ]
    assert [found.headers for found in read_topic(settings, "uploads")] == [
        [("came_at_ms", b"7"), ("traceparent", b"00-trace")],
        [("came_at_ms", b"8")],
    ]
    counted = metrics.registry.get_sample_value("sidestream_events_total", {"topic": "uploads", "result": "refused"})
    assert counted == 2
