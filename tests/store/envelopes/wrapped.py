"""Events as other systems wrap them, for tests."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

Fields = Mapping[str, Any]


def json(fields: Any) -> bytes:
    return msgspec.json.encode(fields)


def cloud_event(data: Fields, **attributes: Any) -> bytes:
    return json({"specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.act", **attributes, "data": data})


def cloud_event_base64(data: Fields) -> bytes:
    attributes = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.act"}
    return json({**attributes, "data_base64": base64.b64encode(json(data)).decode()})


def change(after: Fields | None, op: str = "c", before: Fields | None = None, schema: Any = None) -> bytes:
    """As Debezium's JSON converter writes it, with `schemas.enable` or without."""
    source = {"version": "3.3.1.Final", "connector": "postgresql", "ts_ms": 5_000, "db": "shop", "table": "items"}
    payload = {"before": before, "after": after, "source": source, "op": op, "ts_ms": 5_500, "transaction": None}
    return json(payload if schema is None else {"schema": schema, "payload": payload})


def schema_of(kinds: Mapping[str, str]) -> dict[str, Any]:
    """The schema of a change event whose columns are of these types."""
    fields = [{"field": name, "type": "int64", "optional": True, "name": kind} for name, kind in kinds.items()]
    rows = [{"type": "struct", "optional": True, "field": name, "fields": fields} for name in ("before", "after")]
    return {"type": "struct", "optional": False, "name": "shop.public.items.Envelope", "fields": rows}


def connect(row: Fields, kinds: Mapping[str, str] | None = None) -> bytes:
    """A plain row of Kafka Connect with its schema."""
    fields = [{"field": name, "type": "int64", "name": kind} for name, kind in (kinds or {}).items()]
    return json({"schema": {"type": "struct", "fields": fields, "optional": False}, "payload": row})


WRAPS = {
    "cloud event": cloud_event,
    "cloud event, base64": cloud_event_base64,
    "debezium": change,
    "debezium with schema": lambda row: change(row, schema=schema_of({})),
    "debezium snapshot": lambda row: change(row, "r"),
    "debezium update": lambda row: change(row, "u", before={"item_id": "x"}),
    "connect": connect,
}
"""Every kind of envelope."""
