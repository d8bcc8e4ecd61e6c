"""The wire format of a registry's clients: a zero byte, the id of the schema in four, and what was written by it."""

from __future__ import annotations

import struct

MAGIC = b"\0"
_HEAD = struct.Struct(">bI")


class SchemaError(ValueError):
    """A record says by a schema what cannot be read: `reason` is one of `store.events.REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_registered(data: bytes | None) -> bool:
    """Whether a key or value begins as those do; nothing else that is an event begins so."""
    return data is not None and data[:1] == MAGIC


def schema_id_of(data: bytes) -> int:
    """The id of the schema. Raises `SchemaError`."""
    if len(data) < _HEAD.size:
        raise SchemaError("not_json", f"{len(data)} bytes that begin with zero: neither JSON nor a schema's record")
    found: int = _HEAD.unpack_from(data)[1]
    return found


def payload_of(data: bytes) -> bytes:
    """What was written by the schema."""
    return data[_HEAD.size :]


def registered(schema_id: int, payload: bytes) -> bytes:
    """A record as a registry's client writes it."""
    return _HEAD.pack(0, schema_id) + payload
