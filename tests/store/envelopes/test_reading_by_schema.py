"""Records of a registry's clients are read as the plain events that they stand for, in envelopes too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from store.envelopes.reading import EventReader, event_reader
from store.events import Limits, Refusal, decode_engagements, decode_uploads
from store.records.frames import frame
from store.schemas.registry import Registry
from store.schemas.wire import registered
from store.settings import settings_from
from store.topics import ENGAGEMENTS, UPLOADS
from tests.store.envelopes.test_reading import ENGAGEMENT, NOW
from tests.store.envelopes.wrapped import WRAPS, change, json
from tests.store.schemas.registry_stub import RegistryStub, running
from tests.store.schemas.test_avro import SCHEMA, written

CONFLUENT_AVRO = bytes.fromhex("00000000010c6176726f2d3190b2cccaef66020a4bc3a4736502026100")
CONFLUENT_JSON = bytes.fromhex(
    "00000000027b226974656d5f6964223a226a736f6e2d31222c2275706c6f616465645f6174223a313736373332333034352e357d"
)
"""What AvroSerializer (by `SCHEMA`) and JSONSerializer of confluent-kafka 2.16.1 wrote, with ids 1 and 2."""


def union(kind: str) -> list[str]:
    return ["null", kind]


ACT: dict[str, Any] = {
    "type": "record",
    "name": "Act",
    "fields": [
        *({"name": name, "type": "string"} for name in ("event_id", "user_id", "item_id", "kind")),
        {"name": "occurred_at", "type": "double"},
        {"name": "value", "type": union("double"), "default": None},
        *({"name": name, "type": union("string"), "default": None} for name in ("query", "device")),
    ],
}
ENVELOPE: dict[str, Any] = {
    "type": "record",
    "name": "Envelope",
    "fields": [
        {"name": "before", "type": ["null", ACT], "default": None},
        {"name": "after", "type": ["null", "Act"], "default": None},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": union("long"), "default": None},
    ],
}
KEY: dict[str, Any] = {"type": "record", "name": "Key", "fields": [{"name": "item_id", "type": "long"}]}
IDS = {"upload": 1, "json": 2, "act": 3, "envelope": 4, "key": 5, "text": 6}


@pytest.fixture(scope="module")
def reader() -> Iterator[EventReader]:
    stub = RegistryStub()
    for schema, kind in ((SCHEMA, ""), ({}, "JSON"), (ACT, ""), (ENVELOPE, ""), (KEY, ""), ("string", "")):
        stub.add(schema if isinstance(schema, dict) else '"string"', kind)
    with running(stub):
        reader = event_reader(settings_from({"kafka": {"registry": {"url": stub.url}}}))
        yield reader
        assert isinstance(reader.registry, Registry)
        reader.registry.close()


@settings(max_examples=30)
@given(fields=ENGAGEMENT)
def test_an_engagement_is_the_same_by_each_schema(reader: EventReader, fields: dict[str, Any]) -> None:
    plain = decode_engagements(json(fields), now=NOW, limits=Limits())
    value = fields.get("value")
    numbers = {**fields, "value": None if value is None else float(value)}
    wrapped = {
        "avro": registered(IDS["act"], written(ACT, numbers)),
        "debezium in avro": registered(IDS["envelope"], written(ENVELOPE, {"after": numbers, "op": "c"})),
        **{name: registered(IDS["json"], wrap(fields)) for name, wrap in WRAPS.items()},
        "json": registered(IDS["json"], json(fields)),
    }
    for name, data in wrapped.items():
        found = reader.engagements(data, now=NOW)
        assert found.events == plain.events, name
        assert [each.reason for each in found.refusals] == [each.reason for each in plain.refusals], name
        assert all(each.event == data and each.detail.startswith("schema ") for each in found.refusals), name
        assert len(found.raw or []) == len(found.events)


def test_records_of_confluents_own_client_are_read(reader: EventReader) -> None:
    (avro,) = reader.uploads(CONFLUENT_AVRO, now=NOW).events
    assert (avro.item_id, avro.uploaded_at, avro.title, avro.tags) == ("avro-1", 1767323045.0, "Käse", ["a"])
    (by_json,) = reader.uploads(CONFLUENT_JSON, now=NOW).events
    assert (by_json.item_id, by_json.uploaded_at) == ("json-1", 1767323045.5)


def test_a_frame_by_a_schema_is_told_apart(reader: EventReader) -> None:
    events = [json({"item_id": item_id, "uploaded_at": 1}) for item_id in "ab"]
    found = reader.uploads(registered(IDS["json"], frame(events)), now=NOW)
    assert found == decode_uploads(frame(events), now=NOW) or found.raw == events


@pytest.mark.parametrize(
    ("value", "reason", "said"),
    [
        (registered(99, b"x"), "unknown_schema", "has no schema 99"),
        (b"\0\1", "not_json", "neither JSON nor a schema's record"),
        (registered(IDS["act"], b"\2"), "wrong_type", "schema 3: it was not written by its schema"),
        (registered(IDS["text"], b"\2x"), "not_an_event", "schema 6: Expected `object`"),
        (registered(IDS["json"], b"{"), "not_json", "schema 2: "),
        (registered(IDS["json"], change(None)), "missing_field", "schema 2: in after of a Debezium envelope"),
    ],
)
def test_what_cannot_be_read_is_refused_whole(reader: EventReader, value: bytes, reason: str, said: str) -> None:
    (refusal,) = reader.engagements(value, now=NOW).refusals
    assert (refusal.reason, refusal.event) == (reason, value)
    assert said in refusal.detail


def test_without_a_registry_a_record_says_that_it_needs_one() -> None:
    (refusal,) = EventReader().uploads(CONFLUENT_AVRO, now=NOW).refusals
    assert (refusal.reason, "name its registry, kafka.registry.url" in refusal.detail) == ("unknown_schema", True)
    assert isinstance(EventReader().removed_by_key(UPLOADS, registered(1, b"\2x")), Refusal)
    assert EventReader().user_in(ENGAGEMENTS, registered(1, b"\2x")) == ""


def test_keys_and_deleted_rows_by_a_schema_take_away(reader: EventReader) -> None:
    assert reader.removed(UPLOADS, registered(IDS["key"], written(KEY, {"item_id": 17})), None) == "17"
    assert reader.removed(UPLOADS, registered(IDS["text"], b"\4i1"), None) == "i1"
    assert isinstance(reader.removed(UPLOADS, registered(99, b""), None), Refusal)
    gone = registered(IDS["json"], change(None, "d", {"item_id": "i"}))
    assert reader.removed(UPLOADS, b"k", gone) == reader.uploads(gone, now=NOW).removed == "i"
    assert reader.removed(UPLOADS, b"k", registered(99, b"")) is None


def test_whom_a_record_is_about_is_known_by_a_schema_too(reader: EventReader) -> None:
    assert reader.user_in(ENGAGEMENTS, registered(IDS["json"], b'{"user_id":"u"}')) == "u"
    assert reader.user_in(ENGAGEMENTS, registered(99, b"")) == ""
