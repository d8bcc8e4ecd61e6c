"""Record batches, made and read by kafka-python: taken whole, placed without touching the records, thinned exactly."""

from __future__ import annotations

import struct

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.broker.errors import Code, RefusedError
from stream.broker.storage import batches
from stream.broker.storage.batches import (
    HEADER,
    HEADER_SIZE,
    Batch,
    accept,
    header_at,
    intact,
    payload_of,
    place,
    records,
)
from stream.broker.storage.batches import thinned as thin
from tests.stream.broker.batches import Row, batch, rows

MOST = 1 << 20
TRANSACTIONAL = 0x10

small = st.one_of(st.none(), st.binary(max_size=200))
contents = st.lists(st.tuples(small, small), min_size=1, max_size=6)


def accepted(sent: bytes) -> Batch:
    return accept(sent, MOST)


@settings(max_examples=60)
@given(content=contents, gzip=st.booleans())
def test_every_batch_of_a_client_is_accepted_and_its_records_are_found(
    content: list[tuple[bytes | None, bytes | None]], gzip: bool
) -> None:
    sent = batch(content, gzip=gzip)
    header = accepted(sent)
    assert (header.size, header.next_offset, header.transactional) == (len(sent), len(content), False)
    payload = payload_of(sent, header)
    assert payload is not None
    found = list(records(payload, header.record_count))
    assert [(one.key, one.tombstone) for one in found] == [(key, value is None) for key, value in content]
    assert [one.offset_delta for one in found] == list(range(len(content)))


@given(size=st.integers(0, 200))
def test_a_batch_that_is_not_all_there_has_no_header(size: int) -> None:
    sent = batch([(b"key", b"value" * 10)])
    assert (header_at(sent[:size]) is not None) is (size >= len(sent))
    assert header_at(b"before" + sent, 6) == header_at(sent)


@settings(max_examples=40)
@given(content=contents, offset=st.integers(0, 2**62), gzip=st.booleans())
def test_a_place_in_the_log_changes_offsets_alone(
    content: list[tuple[bytes | None, bytes | None]], offset: int, gzip: bool
) -> None:
    sent = batch(content, 7_000, gzip=gzip)
    data = bytearray(sent)
    placed = place(data, accepted(sent), offset)
    assert intact(data, placed)
    assert rows(bytes(data)) == [Row(offset + n, 7_000 + n, *content[n]) for n in range(len(content))]
    assert data[HEADER_SIZE:] == sent[HEADER_SIZE:]


def test_the_brokers_time_is_stamped_under_a_new_checksum() -> None:
    data = bytearray(batch([(b"k", b"v"), (b"k", b"w")], 5))
    placed = place(data, accepted(bytes(data)), 3, append_time_ms=99_000)
    assert intact(data, placed)
    assert {row.timestamp_ms for row in rows(bytes(data))} == {99_000}


@settings(max_examples=60)
@given(content=contents, gzip=st.booleans(), data=st.data())
def test_thinning_leaves_what_is_kept_as_it_was(
    content: list[tuple[bytes | None, bytes | None]], gzip: bool, data: st.DataObject
) -> None:
    sent = batch(content, gzip=gzip, producer=(5, 1, 40))
    header = accepted(sent)
    payload = payload_of(sent, header)
    assert payload is not None
    kept = data.draw(st.lists(st.sampled_from(range(len(content))), unique=True, min_size=1).map(sorted))
    every = list(records(payload, header.record_count))
    thinned = thin(header, payload, [every[number] for number in kept])
    assert rows(thinned) == [rows(sent)[number] for number in kept]
    after = header_at(thinned)
    assert after is not None
    assert (after.last_sequence, after.next_offset) == (header.last_sequence, header.next_offset)


def test_sequence_numbers_wrap() -> None:
    assert accepted(batch([(b"k", b"v")] * 3, producer=(7, 0, 2**31 - 2))).last_sequence == 0


def changed(sent: bytes, layout: str, at: int, value: int) -> bytes:
    """The batch with one field of its header changed, under a right checksum."""
    out = bytearray(sent)
    struct.pack_into(layout, out, at, value)
    struct.pack_into(">I", out, 17, crc32c(bytes(out[21:])))
    return bytes(out)


@pytest.mark.parametrize(
    ("layout", "at", "value", "code"),
    [
        (">h", 21, TRANSACTIONAL, Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
        (">i", 23, 5, Code.INVALID_RECORD),  # the last offset is not that of the last record
        (">i", 57, 0, Code.INVALID_RECORD),  # no records
        (">i", 57, 3, Code.INVALID_RECORD),  # more than there are
    ],
)
def test_a_header_that_does_not_fit_its_records_is_refused(layout: str, at: int, value: int, code: Code) -> None:
    sent = batch([(b"k", b"v"), (b"l", b"w")])
    with pytest.raises(RefusedError) as refused:
        accepted(changed(sent, layout, at, value))
    assert refused.value.code is code


def test_what_cannot_be_decompressed_has_no_payload() -> None:
    sent = changed(batch([(b"k", b"v")]), ">h", 21, 1)  # says gzip, and is not
    header = header_at(sent)
    assert header is not None
    assert payload_of(sent, header) is None


def test_a_batch_over_the_limit_is_refused_by_its_size() -> None:
    sent = batch([(b"k", b"v" * 100)])
    assert accept(sent, len(sent))
    with pytest.raises(RefusedError, match=r"over max\.message\.bytes") as refused:
        accept(sent, len(sent) - 1)
    assert refused.value.code is Code.MESSAGE_TOO_LARGE


def resealed(header: Batch, body: bytes) -> bytes:
    """A batch whose length and checksum hold, whatever is in it."""
    data = bytearray(HEADER.pack(*header._replace(length=HEADER_SIZE - 12 + len(body))) + body)
    struct.pack_into(">I", data, 17, crc32c(memoryview(data)[21:]))
    return bytes(data)


@pytest.mark.timeout(30)
def test_what_unpacks_to_millions_of_parts_is_refused_at_once() -> None:
    """Some kilobytes that unpack to as many records or headers as 64 MiB have room for held up everybody for a minute.
    The parts here are many less, so that the test is quick before that, too."""
    some = accepted(batch([(b"k", b"v")]))
    many = batches.MOST_PARTS + 1
    smallest = b"".join(b"\x0e\x00\x00" + bytes([n & 0x7F | 0x80, n >> 7]) + b"\x01\x01\x00" for n in [0] * many)
    crowded = some._replace(record_count=many, last_offset_delta=many - 1)
    body = b"\x00\x00\x00\x01\x01" + varint(many) + b"\x00\x01" * many
    for sent, told in (
        (resealed(crowded, smallest), f"{many} records"),
        (resealed(some, varint(len(body)) + body), f"{many} headers"),
        (resealed(some, b"\x80" * 900_000), "ten bytes"),
    ):
        with pytest.raises(RefusedError, match=told) as refused:
            accept(sent, 1 << 24)
        assert refused.value.code is Code.INVALID_RECORD


def varint(number: int) -> bytes:
    number, out = 2 * number, bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
