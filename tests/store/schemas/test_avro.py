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
    assert read(written(SCHEMA, record)) == {**record, "uploaded_at": 1767323045.25}


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
    assert avro_reader(json.dumps(act), [json.dumps(kind)])(written(whole, {"kind": "like"})) == {"kind": "like"}
    with pytest.raises(SchemaError, match="no Avro schema") as refused:
        avro_reader(json.dumps(act), [])
    assert refused.value.reason == "unknown_schema"


@given(st.binary(max_size=40))
def test_bytes_that_nobody_wrote_are_read_or_refused(payload: bytes) -> None:
    with suppress(SchemaError):
        assert set(avro_reader(json.dumps(SCHEMA), [])(payload)) == {"item_id", "uploaded_at", "title", "tags"}
