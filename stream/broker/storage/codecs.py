"""Codecs: how the records of a batch are compressed, by the number that the batch's attributes hold.

Invariant: no more than `MOST_BYTES` ever come out of one batch, whatever a client sent: a bomb is refused, not opened.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import cramjam
from lz4.frame import LZ4FrameDecompressor
from zstandard import ZstdDecompressor

MOST_BYTES = 64 << 20
"""The records of one batch, decompressed: producers gather a megabyte or two, sidestream's largest record has 16."""

_XERIAL = b"\x82SNAPPY\x00"
"""How a stream of snappy blocks begins: Java's way; librdkafka sends one block without it."""
_XERIAL_BEGIN = 16
_MOST_MEMBERS = 32
"""Of a gzip stream; producers write one. Each costs a copy of what follows it."""
_MOST_BLOCKS = MOST_BYTES >> 10
"""Of a snappy stream; Java's have 32 KiB each. Empty ones cost time and bring nothing."""


class CodecError(ValueError):
    """The bytes are not what the codec makes, or decompress to more than a batch may hold."""


def decompress(codec: int, data: bytes, most_bytes: int = MOST_BYTES) -> bytes:
    """The records of a batch. Raises `CodecError`, also for a number that stands for no codec."""
    if codec not in _DECOMPRESSORS:
        raise CodecError(f"there is no codec {codec}: use gzip, snappy, lz4, zstd or none")
    name, decompressor = _DECOMPRESSORS[codec]
    try:
        found = decompressor(data, most_bytes)
    except Exception as error:  # each library has errors of its own
        raise CodecError(f"not {name}: {error}") from error
    if len(found) > most_bytes:
        raise CodecError(
            f"a batch of {len(data)} bytes of {name} holds more than {most_bytes} bytes: send smaller ones"
        )
    return found


def _gunzip(data: bytes, most_bytes: int) -> bytes:
    found, members = bytearray(), 0
    while data and len(found) <= most_bytes:  # one member after the other
        member = zlib.decompressobj(31)
        found += member.decompress(data, most_bytes + 1 - len(found))
        if not member.eof and len(found) <= most_bytes:
            raise CodecError("it ends too early")
        data, members = member.unused_data, members + 1  # the rest, copied
        if members > _MOST_MEMBERS:
            raise CodecError(f"it has more than {_MOST_MEMBERS} members")
    return bytes(found)


def _unsnap(data: bytes, most_bytes: int) -> bytes:
    if not data.startswith(_XERIAL):
        return _unsnap_block(data, most_bytes)
    found, at, blocks = bytearray(), _XERIAL_BEGIN, 0
    while at < len(data) and len(found) <= most_bytes:
        blocks += 1
        if blocks > _MOST_BLOCKS:
            raise CodecError(f"it has more than {_MOST_BLOCKS} blocks")
        size = int.from_bytes(data[at : at + 4], "big")
        at += 4 + size
        if at > len(data):
            raise CodecError("it ends too early")
        found += _unsnap_block(data[at - size : at], most_bytes - len(found))
    return bytes(found)


def _unsnap_block(block: bytes, most_bytes: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(block) > most_bytes:
        raise CodecError(f"it holds more than {most_bytes} bytes: send smaller batches")
    return bytes(cramjam.snappy.decompress_raw(block))


def _unlz4(data: bytes, most_bytes: int) -> bytes:
    frame = LZ4FrameDecompressor()
    found: bytes = frame.decompress(data, max_length=most_bytes + 1)
    if not frame.eof and len(found) <= most_bytes:
        raise CodecError("it ends too early")
    return found


def _unzstd(data: bytes, most_bytes: int) -> bytes:
    with ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read(most_bytes + 1)


_DECOMPRESSORS: Mapping[int, tuple[str, Callable[[bytes, int], bytes]]] = {
    1: ("gzip", _gunzip),
    2: ("snappy", _unsnap),
    3: ("lz4", _unlz4),
    4: ("zstd", _unzstd),
}
