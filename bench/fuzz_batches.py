"""Record batches whose checksums hold, whatever is in them: right ones, and such as unpack to far more than that."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import cramjam
import lz4.frame
import zstandard
from crc32c import crc32c

from stream.broker.storage.batches import HEADER, HEADER_SIZE

XERIAL = b"\x82SNAPPY\x00" + bytes(8)
Compress = Callable[[bytes], bytes]
CODECS: dict[int, Compress] = {
    1: gzip.compress,
    2: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    3: lz4.frame.compress,
    4: zstandard.ZstdCompressor().compress,
}


def batch(codec: int = 0, payload: bytes | None = None, count: int = 3, compressed: bytes | None = None) -> bytes:
    """A record batch of format v2 whose checksum holds."""
    body = compressed if compressed is not None else _packed(codec, payload or _records(count))
    header = HEADER.pack(0, HEADER_SIZE - 12 + len(body), 0, 2, 0, codec, count - 1, 0, 0, -1, -1, -1, count)
    return resealed(header + body)


def resealed(data: bytes) -> bytes:
    """The same with a length and a checksum that hold, so that what is behind them is looked at."""
    if len(data) < HEADER_SIZE:
        return data
    sealed = bytearray(data)
    struct.pack_into(">i", sealed, 8, len(sealed) - 12)
    struct.pack_into(">I", sealed, 17, crc32c(memoryview(sealed)[21:]))
    return bytes(sealed)


def _packed(codec: int, payload: bytes) -> bytes:
    return CODECS[codec](payload) if codec else payload


def _records(count: int) -> bytes:
    rows = [b"\x00\x00" + bytes([2 * number]) + b"\x02k\x04vv\x02\x02h\x02x" for number in range(count)]
    return b"".join(bytes([2 * len(row)]) + row for row in rows)


BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip of a gigabyte": lambda: batch(1, compressed=gzip.compress(bytes(1 << 20)) * 1024),
    "zstd of a gigabyte": lambda: batch(4, compressed=CODECS[4](bytes(1 << 20)) * 1024),
    "lz4 of a gigabyte": lambda: batch(3, compressed=lz4.frame.compress(bytes(1 << 27)) * 8),
    "snappy that says 4 GB": lambda: batch(2, compressed=b"\xff\xff\xff\xff\x0f" + b"\xfe\x01\x00" * 100),
    "empty gzip members": lambda: batch(1, compressed=gzip.compress(b"") * 400_000),
    "empty snappy blocks": lambda: batch(2, compressed=XERIAL + b"\x00\x00\x00\x01\x00" * 1_500_000),
    "empty zstd frames": lambda: batch(4, compressed=CODECS[4](b"") * 800_000),
    "four million records": lambda: batch(4, payload=_smallest(4_000_000), count=4_000_000),
    "thirty million headers": lambda: batch(4, payload=_headers(30_000_000), count=1),
    "a number without end": lambda: batch(0, payload=b"\x80" * 4_000_000, count=1),
}
"""Batches that unpack to a gigabyte, or into millions of parts, by what they are made of."""


def _smallest(count: int) -> bytes:
    """Records without key, value and headers."""
    bodies = (b"\x00\x00" + _varint(number) + b"\x01\x01\x00" for number in range(count))
    return b"".join(bytes([2 * len(body)]) + body for body in bodies)


def _headers(count: int) -> bytes:
    body = b"\x00\x00\x00\x01\x01" + _varint(count) + b"\x00\x01" * count
    return _varint(len(body)) + body


def _varint(number: int) -> bytes:
    number, out = number << 1, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
