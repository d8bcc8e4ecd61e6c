"""Record batches (format v2): the unit that clients send, that lies on disk, and that clients fetch.

Invariant: the broker never re-encodes what a client sent, except for the fields outside the checksum (base offset,
leader epoch), the time stamp of LogAppendTime topics, and batches that compaction thins out. A batch is laid out as
    base_offset i64, length i32, leader_epoch i32, magic i8, crc32c u32 | attributes i16, last_offset_delta i32,
    base_timestamp i64, max_timestamp i64, producer_id i64, producer_epoch i16, base_sequence i32, count i32, records
and the checksum covers everything after the bar.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from stream.broker.errors import Code, RefusedError
from stream.broker.storage.codecs import CodecError, decompress

Buffer = bytes | bytearray | memoryview

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size  # 61
_LENGTH_AT, _EPOCH_AT, _CRC_AT, _CHECKED_FROM = 8, 12, 17, 21
MOST_PARTS = 200_000
"""Records and headers of one batch. They are looked at one by one, and nobody else is served meanwhile: what a few
kilobytes unpack to would otherwise hold the broker up for a minute."""
_PREFIX = 12  # base offset and length, which `length` does not count
_CODEC_MASK, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20


class Batch(NamedTuple):
    """The header of one record batch."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.length + _PREFIX

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """Sequence number of the last record; numbers wrap from 2**31 - 1 to 0."""
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def transactional(self) -> bool:
        return bool(self.attributes & (_TRANSACTIONAL | _CONTROL))


class BatchRecord(NamedTuple):
    """One record inside a batch's decompressed payload: `payload[start:end]` is its encoding."""

    offset_delta: int
    timestamp_delta: int
    key: bytes | None
    tombstone: bool
    start: int
    end: int


def header_at(data: Buffer, at: int = 0) -> Batch | None:
    """The header of the batch that starts at `at`, or None where `data` ends before the whole batch does."""
    if at + HEADER_SIZE > len(data):
        return None
    batch = Batch._make(HEADER.unpack_from(data, at))
    return batch if batch.length >= HEADER_SIZE - _PREFIX and at + batch.size <= len(data) else None


def intact(data: Buffer, batch: Batch, at: int = 0) -> bool:
    """True if the batch at `at` is format v2 and its checksum holds."""
    return batch.magic == 2 and crc32c(memoryview(data)[at + _CHECKED_FROM : at + batch.size]) == batch.crc


def accept(data: Buffer, max_bytes: int) -> Batch:
    """Checks what a producer sent for one partition: exactly one intact batch of format v2, not over `max_bytes`, whose
    records any client can read: one that cannot be read would stop every consumer for good."""
    batch = header_at(data)
    if len(data) > max_bytes:
        raise RefusedError(
            Code.MESSAGE_TOO_LARGE, f"a batch of {len(data)} bytes is over max.message.bytes={max_bytes}"
        )
    if batch is None:
        raise RefusedError(Code.CORRUPT_MESSAGE, "the batch is shorter than it says")
    if batch.magic != 2 or batch.size != len(data):
        raise RefusedError(Code.INVALID_RECORD, "a partition's data must be one record batch of format v2")
    if not intact(data, batch):
        raise RefusedError(Code.CORRUPT_MESSAGE, "the checksum does not match")
    if batch.record_count < 1 or batch.last_offset_delta != batch.record_count - 1:
        raise RefusedError(
            Code.INVALID_RECORD, f"{batch.record_count} records, last offset delta {batch.last_offset_delta}"
        )
    if batch.transactional:
        raise RefusedError(Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    try:
        _check_records(_decompressed(data, batch), batch.record_count)
    except CodecError as error:
        raise RefusedError(Code.INVALID_RECORD, f"the batch cannot be decompressed: {error}") from error
    except (IndexError, ValueError) as error:
        raise RefusedError(Code.INVALID_RECORD, f"the batch's records cannot be read: {error}") from error
    return batch


def place(data: bytearray, batch: Batch, offset: int, append_time_ms: int | None = None) -> Batch:
    """Gives the batch its place in the log, in place; with `append_time_ms` also the broker's time."""
    struct.pack_into(">q", data, 0, offset)
    struct.pack_into(">i", data, _EPOCH_AT, 0)
    if append_time_ms is not None:
        struct.pack_into(">h", data, _CHECKED_FROM, batch.attributes | _LOG_APPEND_TIME)
        struct.pack_into(">q", data, 35, append_time_ms)
        struct.pack_into(">I", data, _CRC_AT, crc32c(memoryview(data)[_CHECKED_FROM:]))
    return Batch._make(HEADER.unpack_from(data))


def payload_of(data: Buffer, batch: Batch, at: int = 0) -> memoryview | None:
    """The batch's records, decompressed; None where that fails: it is of a release that accepted such batches."""
    try:
        return _decompressed(data, batch, at)
    except CodecError:
        return None


def _decompressed(data: Buffer, batch: Batch, at: int = 0) -> memoryview:
    body = memoryview(data)[at + HEADER_SIZE : at + batch.size]
    codec = batch.attributes & _CODEC_MASK
    return body if codec == 0 else memoryview(decompress(codec, bytes(body)))


def records(payload: memoryview, count: int) -> Iterator[BatchRecord]:
    """The records of a decompressed payload, values left where they are."""
    at = 0
    for _ in range(count):
        start = at
        size, at = _varint(payload, at)
        end = at + size
        timestamp_delta, at = _varint(payload, at + 1)
        offset_delta, at = _varint(payload, at)
        key_size, at = _varint(payload, at)
        key = None
        if key_size >= 0:
            key = bytes(payload[at : at + key_size])
            at += key_size
        value_size, _ = _varint(payload, at)
        yield BatchRecord(offset_delta, timestamp_delta, key, value_size < 0, start, end)
        at = end


def _check_records(payload: memoryview, count: int) -> None:
    """Raises IndexError or ValueError unless the payload is `count` whole records, numbered from 0."""
    at, left = 0, MOST_PARTS - count
    if left < 0:
        raise ValueError(f"{count} records, more than {MOST_PARTS}: send smaller batches")
    for number in range(count):
        size, begin = _varint(payload, at)
        end = begin + size
        if size < 0 or end > len(payload):
            raise ValueError(f"record {number} ends outside the batch")
        _, at = _varint(payload, begin + 1)
        offset_delta, at = _varint(payload, at)
        for _ in ("key", "value"):
            length, at = _varint(payload, at)
            at += max(0, length)
        at, left = _past_headers(payload, at, left)
        if offset_delta != number or at != end:
            raise ValueError(f"record {number} of {count} is not laid out as format v2 says")
    if at != len(payload):
        raise ValueError(f"{len(payload) - at} bytes follow the last of {count} records")


def _past_headers(payload: memoryview, at: int, left: int) -> tuple[int, int]:
    """Where a record's headers end, and how many more the batch may have."""
    headers, at = _varint(payload, at)
    if not 0 <= headers <= left:
        raise ValueError(f"{headers} headers: send smaller batches, of at most {MOST_PARTS} records and headers")
    for _ in range(headers):
        length, at = _varint(payload, at)
        str(payload[at : at + length], "utf-8")  # a name that is not UTF-8 stops Python's clients
        length, at = _varint(payload, at + length)
        at += max(0, length)
    return at, left - headers


def thinned(batch: Batch, payload: memoryview, kept: list[BatchRecord]) -> bytes:
    """The batch with only `kept` of its records, uncompressed; offsets and producer fields stay as they were."""
    body = b"".join(payload[record.start : record.end] for record in kept)
    attributes = batch.attributes & ~_CODEC_MASK
    header = batch._replace(attributes=attributes, length=HEADER_SIZE - _PREFIX + len(body), record_count=len(kept))
    out = bytearray(HEADER.pack(*header) + body)
    struct.pack_into(">I", out, _CRC_AT, crc32c(memoryview(out)[_CHECKED_FROM:]))
    return bytes(out)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A zigzag varint at `at`, and where it ends."""
    raw = data[at]
    if raw < 0x80:  # mostly
        return (raw >> 1) ^ -(raw & 1), at + 1
    raw = shift = 0
    while True:
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
