"""Codecs: what each makes is read back, what none made is refused, and no more comes out than is allowed."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from contextlib import suppress

import kafka.codec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.broker.storage.codecs import CodecError, decompress

ENCODERS: Mapping[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (1, gzip.compress),
    "snappy of librdkafka": (2, lambda data: bytes(kafka.codec.snappy_encode(data, xerial_compatible=False))),
    "snappy of Java": (2, lambda data: bytes(kafka.codec.snappy_encode(data, xerial_compatible=True))),
    "lz4": (3, kafka.codec.lz4_encode),
    "zstd": (4, kafka.codec.zstd_encode),
}
names = pytest.mark.parametrize("name", ENCODERS)


@names
@settings(max_examples=30)
@given(data=st.binary(max_size=500), times=st.integers(1, 300))
def test_what_a_client_compressed_is_read_back(name: str, data: bytes, times: int) -> None:
    codec, encode = ENCODERS[name]
    assert decompress(codec, encode(data * times)) == data * times


@names
def test_as_much_as_allowed_is_read_and_not_a_byte_more(name: str) -> None:
    codec, encode = ENCODERS[name]
    data = bytes(range(256)) * 300
    assert decompress(codec, encode(data), len(data)) == data
    with pytest.raises(CodecError, match="more than"):
        decompress(codec, encode(data), len(data) - 1)


@settings(max_examples=100)
@given(codec=st.integers(-1, 7), data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(codec: int, data: bytes) -> None:
    with suppress(CodecError):
        assert len(decompress(codec, data, 1000)) <= 1000


def test_several_members_of_gzip_are_one_batch() -> None:
    assert decompress(1, gzip.compress(b"one ") + gzip.compress(b"two")) == b"one two"
    with pytest.raises(CodecError, match="more than"):
        decompress(1, gzip.compress(b"one ") + gzip.compress(b"two"), 5)


def test_a_number_that_stands_for_no_codec_names_those_that_do() -> None:
    with pytest.raises(CodecError, match=r"no codec 5: use gzip, snappy, lz4, zstd"):
        decompress(5, b"")


@pytest.mark.timeout(20)
def test_parts_without_end_that_bring_nothing_are_refused() -> None:
    """Eight megabytes of empty gzip members held the broker, and everybody else, for minutes."""
    with pytest.raises(CodecError, match="members"):
        decompress(1, gzip.compress(b"") * 400_000)
    with pytest.raises(CodecError, match="blocks"):
        decompress(2, b"\x82SNAPPY\x00" + bytes(8) + b"\x00\x00\x00\x01\x00" * 1_500_000)
