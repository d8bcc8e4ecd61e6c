"""The wire: frames, headers, the versions spoken, and the codec, which is kafka-python's own set of Kafka schemas.

A handler gets a decoded request and answers with plain dictionaries in the schema's names; what it leaves out takes
the schema's default. Versions are chosen so that every client in use finds one and none needs topic ids;
Metadata tells them, so that a topic that was made anew is known as another one.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kafka.protocol import admin, consumer, metadata, producer
from kafka.protocol.schemas.fields.codecs.encode_buffer import EncodeBuffer

API_VERSIONS = 18
PRODUCE = 0
MOST_NAMED = 200
"""Characters of a client's name that are kept: it comes back in answers, which have room for 32,767 bytes."""
_SPOKEN = {
    0: ("Produce", 3, 8),
    1: ("Fetch", 4, 11),
    2: ("ListOffsets", 1, 7),
    3: ("Metadata", 0, 12),
    8: ("OffsetCommit", 2, 8),
    9: ("OffsetFetch", 1, 7),
    10: ("FindCoordinator", 0, 3),
    11: ("JoinGroup", 0, 6),
    12: ("Heartbeat", 0, 4),
    13: ("LeaveGroup", 0, 4),
    14: ("SyncGroup", 0, 4),
    15: ("DescribeGroups", 0, 5),
    16: ("ListGroups", 0, 4),
    API_VERSIONS: ("ApiVersions", 0, 3),
    19: ("CreateTopics", 2, 4),
    20: ("DeleteTopics", 1, 4),
    21: ("DeleteRecords", 0, 2),
    22: ("InitProducerId", 0, 4),
    32: ("DescribeConfigs", 1, 4),
    33: ("AlterConfigs", 0, 2),
    37: ("CreatePartitions", 0, 3),
    42: ("DeleteGroups", 0, 2),
    44: ("IncrementalAlterConfigs", 0, 1),
    47: ("OffsetDelete", 0, 0),
    60: ("DescribeCluster", 0, 1),
}


@dataclass(frozen=True)
class Api:
    """One kind of request, the versions spoken of it, and its schemas."""

    name: str
    oldest: int
    newest: int
    request: Any
    response: Any


@dataclass(frozen=True)
class Call:
    """One request as it came in."""

    api: Api
    version: int
    correlation_id: int
    client_id: str
    body: Any


class UnknownCallError(Exception):
    """A request that this broker does not speak: the connection is closed, as Kafka does."""


def _schema(name: str) -> Any:
    return next(getattr(module, name) for module in (admin, consumer, metadata, producer) if hasattr(module, name))


APIS = {key: Api(n, a, b, _schema(n + "Request"), _schema(n + "Response")) for key, (n, a, b) in _SPOKEN.items()}


def decode(frame: bytes) -> Call:
    """Reads one request; a version of ApiVersions that is too new comes back with no body, to be answered as such.

    Raises UnknownCallError for what this broker does not speak and for what is no request at all.
    """
    try:
        return _decode(frame)
    except (struct.error, IndexError, ValueError, AssertionError) as error:
        raise UnknownCallError(f"not a Kafka request ({error!r:.200})") from error


def _decode(frame: bytes) -> Call:
    key, version, correlation_id, client_size = struct.unpack_from(">hhih", frame)
    at = 10 + max(client_size, 0)
    client_id = frame[10:at].decode(errors="replace")[:MOST_NAMED]
    api = APIS.get(key)
    if api is None or not api.oldest <= version <= api.newest:
        if key != API_VERSIONS:
            raise UnknownCallError(
                f"request {key} ({api.name if api else 'unknown'}) version {version} from {client_id}"
            )
        return Call(APIS[API_VERSIONS], 0, correlation_id, client_id, None)
    if api.request.flexible_version_q(version):
        at = _after_tags(frame, at)
    return Call(api, version, correlation_id, client_id, _body(api.request, memoryview(frame)[at:], version))


def _body(schema: Any, data: memoryview, version: int) -> Any:
    """The request's fields. Where lengths take as many bytes as they like, kafka-python's quick way believes them: of a
    frame of nothing but 0xff it would read one number for hours. Its other way is strict."""
    if schema.flexible_version_q(version):
        strictly = {"version": version, "compact": True, "tagged": True, "data_class": schema}
        body = schema._struct.decode(io.BytesIO(data), **strictly)
    else:
        body = schema.decode(data, version=version)
    _refuse_nulls(_nullless(schema, version), body)
    return body


@cache
def _nullless(schema: Any, version: int) -> tuple[tuple[str, bool, Any], ...]:
    """The fields that must not be null where a client can make them so: (name, nullable, of the structs in it)."""
    return _nullless_in(schema._struct, version)


def _nullless_in(struct: Any, version: int) -> tuple[tuple[str, bool, Any], ...]:
    found = []
    for field in struct.untagged_fields(version):
        inner = _nullless_in(field, version) if field.is_struct_array() else ()
        nullable = field.nullable_for_version_q(version)
        nullable |= field.type_str == "uuid"  # one of zeros is read as null
        if inner or not (nullable or field.is_batchable()):
            found.append((field.name, nullable, inner))
    return tuple(found)


def _refuse_nulls(fields: tuple[tuple[str, bool, Any], ...], values: Any) -> None:
    for name, nullable, inner in fields:
        value = getattr(values, name)
        if value is None and not nullable:
            raise ValueError(f"{name} is null")
        for each in value if inner and value else ():
            _refuse_nulls(inner, each)


def encode(call: Call, answer: Mapping[str, Any]) -> memoryview:
    """The answer as one frame."""
    schema, out = call.api.response, EncodeBuffer(1024)
    flexible = schema.flexible_version_q(call.version)
    out.pos = 4
    struct.pack_into(">i", out.buf, 4, call.correlation_id)
    out.pos += 4
    if flexible and call.api is not APIS[API_VERSIONS]:
        out.pos += 1  # no tags in the header; the buffer is zeroed
    filled = _fill(schema, answer)
    schema._struct.compiled_encode_into(call.version, compact=flexible, tagged=flexible)(filled, out)
    struct.pack_into(">i", out.buf, 0, out.pos - 4)
    return memoryview(out.buf)[: out.pos]


def _fill(container: Any, values: Mapping[str, Any]) -> Any:
    """A schema object with these values; the codec falls back on the schema's default for the others."""
    made = container()
    for name, value in values.items():
        field = container._struct.fields[name]
        if field.is_struct_array() and value is not None:
            value = [_fill(field.data_class, item) for item in value]
        setattr(made, name, value)
    return made


def _after_tags(frame: bytes, at: int) -> int:
    """Skips the tagged fields of a flexible request header; none that are in use matter here."""
    count, at = _uvarint(frame, at)
    for _ in range(count):
        _, at = _uvarint(frame, at)
        size, at = _uvarint(frame, at)
        at += size
    return at


def _uvarint(frame: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = frame[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 28:
            raise ValueError("a number of more than five bytes")
