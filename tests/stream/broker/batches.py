"""Record batches for the broker's unit tests, made and read by kafka-python: a codec other than the broker's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kafka.record import MemoryRecords, MemoryRecordsBuilder


class Row(NamedTuple):
    """A record as a client sees it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def batch(
    rows: Sequence[tuple[bytes | None, bytes | None]],
    timestamp_ms: int = 1_000,
    *,
    gzip: bool = False,
    producer: tuple[int, int, int] = (-1, -1, -1),
) -> bytes:
    """One batch of (key, value) rows, a millisecond apart; `producer` is id, epoch and base sequence."""
    producer_id, epoch, sequence = producer
    builder = MemoryRecordsBuilder(
        2, int(gzip), 1 << 24, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence
    )
    for number, (key, value) in enumerate(rows):
        builder.append(timestamp_ms + number, key, value)
    builder.close()
    return bytes(builder.buffer())


def rows(data: bytes) -> list[Row]:
    """Every record in `data`, which may end within a batch; checksums are verified."""
    out = []
    records = MemoryRecords(data)
    while records.has_next():
        found = records.next_batch()
        assert found.validate_crc()
        out += [Row(record.offset, record.timestamp, record.key, record.value) for record in found]
    return out
