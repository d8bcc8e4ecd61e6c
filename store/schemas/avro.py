"""Avro: a record as the JSON of its fields. Times with a zone are epoch seconds, as events have them.

Invariant: what Avro holds and JSON does not (NaN, a time without a zone) is never turned into something else that an
event could take.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec

from store.records.missing_extra import MissingExtraError
from store.schemas.wire import SchemaError

Read = Callable[[bytes], bytes]
"""From what was written by a schema to JSON."""


def fastavro() -> Any:
    """The library. Raises `MissingExtraError`."""
    try:
        import fastavro
    except ImportError:
        raise MissingExtraError("kafka.registry needs fastavro: pip install 'sidestream[registry]'") from None
    return fastavro


def avro_reader(text: str, named: list[str]) -> Read:
    """What reads the records of a schema; `named`: those that it refers to, each after those that it refers to itself.
    Raises `SchemaError`."""
    library, known = fastavro(), dict[str, Any]()
    try:
        for each in named:
            library.parse_schema(json.loads(each), known)
        schema = library.parse_schema(json.loads(text), known)
        _least_bytes(schema, known, ())
    except SchemaError:
        raise
    except Exception as error:  # of a library that raises whatever it meets
        raise SchemaError("unknown_schema", f"no Avro schema that can be used: {error!r:.200}") from None
    return lambda payload: _read(library, schema, payload)


def _read(library: Any, schema: Any, payload: bytes) -> bytes:
    stream = BytesIO(payload)
    try:
        found = msgspec.json.encode(plain(library.schemaless_reader(stream, schema, None)))
    except SchemaError:
        raise
    except Exception as error:  # likewise: of bytes that nobody wrote by this schema
        raise SchemaError("wrong_type", f"it was not written by its schema: {error!r:.200}") from None
    if left := len(payload) - stream.tell():
        raise SchemaError("wrong_type", f"it was not written by its schema: {left} bytes are left over")
    return found


def _least_bytes(schema: Any, known: Mapping[str, Any], inside: tuple[str, ...]) -> int:
    """The least that a value of a schema takes. Raises `SchemaError` for a schema by which a few bytes could end the
    process, or stand for more than memory holds: one within itself, and lists of what takes no room."""
    if isinstance(schema, list):
        return min(1 + _least_bytes(each, known, inside) for each in schema)
    if isinstance(schema, str):
        return _least_bytes(known[schema], known, inside) if schema in known else int(schema != "null")
    kind, name = schema["type"], schema.get("name", "")
    if name and name in inside:
        raise SchemaError("unknown_schema", f"{name} lies within itself: records may not")
    inside = (*inside, name) if name else inside
    if kind in ("record", "error"):
        return sum(_least_bytes(each["type"], known, inside) for each in schema["fields"])
    if kind in ("array", "map"):
        if _least_bytes(schema["items" if kind == "array" else "values"], known, inside) == 0:
            raise SchemaError("unknown_schema", f"{kind}s of what takes no room may be endless")
        return 1
    if kind in ("enum", "fixed"):
        return int(schema.get("size", 1))
    return _least_bytes(kind, known, inside)  # a primitive with a logical type


def plain(value: Any) -> Any:
    """What Avro's values are in JSON. Raises `SchemaError`."""
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, float | Decimal):
        return _finite(value)
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return _text(value)


def _finite(value: float | Decimal) -> float:
    if not math.isfinite(value):
        raise SchemaError("not_finite", f"it holds {value}: leave the field out")
    return float(value)


def _text(value: Any) -> Any:
    """Times, ids and bytes."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if isinstance(value, date | time):  # not known to be one moment: refused where a moment is wanted
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return str(value) if isinstance(value, UUID) else repr(value)
