"""Avro's values in JSON's terms; bytes that nobody wrote by a schema are refused, whatever comes of them."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.schemas.avro import avro_reader, plain
from store.schemas.wire import SchemaError

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Upload",
    "namespace": "shop",
    "fields": [
        {"name": "item_id", "type": "string"},
        {"name": "uploaded_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "title", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}


def written(schema: Any, value: Any) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), value)
    return stream.getvalue()


def test_a_record_is_the_json_of_its_fields() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 250_000, UTC)
    record = {"item_id": "i", "uploaded_at": at, "title": None, "tags": ["a", "ü"]}
    read = avro_reader(json.dumps(SCHEMA), [])
    assert json.loads(read(written(SCHEMA, record))) == {**record, "uploaded_at": 1767323045.25}


def test_every_value_has_its_like() -> None:
    value = {
        "bytes": b"text",
        "binary": b"\xff",
        "decimal": Decimal("0.5"),
        "id": UUID(int=1),
        "day": date(2026, 1, 2),
        "local": datetime(2026, 1, 2, 3),
        "nested": [{"a": (1, True, None)}],
    }
    assert plain(value) == {
        "bytes": "text",
        "binary": "/w==",
        "decimal": 0.5,
        "id": "00000000-0000-0000-0000-000000000001",
        "day": "2026-01-02",
        "local": "2026-01-02T03:00:00",
        "nested": [{"a": [1, True, None]}],
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, Decimal("NaN")])
def test_a_number_that_json_does_not_have_is_refused_by_name(value: Any) -> None:
    with pytest.raises(SchemaError, match="leave the field out") as refused:
        plain({"value": value})
    assert refused.value.reason == "not_finite"


def test_names_of_other_schemas_are_known() -> None:
    kind = {"type": "enum", "name": "Kind", "namespace": "shop", "symbols": ["click", "like"]}
    act = {"type": "record", "name": "Act", "namespace": "shop", "fields": [{"name": "kind", "type": "shop.Kind"}]}
    whole = {**act, "fields": [{"name": "kind", "type": kind}]}
    assert avro_reader(json.dumps(act), [json.dumps(kind)])(written(whole, {"kind": "like"})) == b'{"kind":"like"}'
    with pytest.raises(SchemaError, match="no Avro schema") as refused:
        avro_reader(json.dumps(act), [])
    assert refused.value.reason == "unknown_schema"


def of(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Outer", "fields": [{"name": "a", "type": kind}]}


LOOP: dict[str, Any] = {"type": "record", "name": "Loop", "fields": [{"name": "next", "type": ["null", "Loop"]}]}
EMPTY: dict[str, Any] = {"type": "record", "name": "Empty", "fields": [{"name": "n", "type": "null"}]}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (of(LOOP), "Loop lies within itself"),
        (of({"type": "map", "values": "Outer"}), "Outer lies within itself"),
        (of({"type": "array", "items": "null"}), "arrays of what takes no room"),
        (of({"type": "array", "items": EMPTY}), "arrays of what takes no room"),
        (of({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}), "arrays of what takes no room"),
    ],
)
def test_a_schema_by_which_a_few_bytes_could_end_the_process_is_refused(schema: Any, said: str) -> None:
    """Read by the first, 20 KB are a segmentation fault of the library; by the third, five bytes are endless."""
    with pytest.raises(SchemaError, match=said) as refused:
        avro_reader(json.dumps(schema), [])
    assert refused.value.reason == "unknown_schema"


def test_schemas_that_only_look_like_that_are_read() -> None:
    twice = {"type": "record", "name": "Pair", "fields": [{"name": "a", "type": EMPTY}, {"name": "b", "type": "Empty"}]}
    kinds = [twice, {"type": "array", "items": ["null", "Empty"]}, {"type": "map", "values": "int"}, "null"]
    fields = [{"name": f"f{place}", "type": kind} for place, kind in enumerate(kinds)]
    schema = {"type": "record", "name": "Outer", "fields": fields}
    value = {"f0": {"a": {"n": None}, "b": {"n": None}}, "f1": [None], "f2": {"x": 1}, "f3": None}
    assert json.loads(avro_reader(json.dumps(schema), [])(written(schema, value))) == value


@given(st.binary(max_size=40))
def test_bytes_that_nobody_wrote_are_read_or_refused(payload: bytes) -> None:
    with suppress(SchemaError):
        assert set(json.loads(avro_reader(json.dumps(SCHEMA), [])(payload))) == {
            each["name"] for each in SCHEMA["fields"]
        }
