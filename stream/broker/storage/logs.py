"""The log of one partition: segments in a row, appended to at the end, expiring at the start.

Invariant: offsets only grow; `start` never falls; what was acknowledged lies in [start, end) unless retention,
compaction or DeleteRecords took it. Everything here is synchronous and quick (one append, one bounded read); the
compaction's slow half works on closed segments, which nobody changes, and may run on a thread.
"""

from __future__ import annotations

import shutil
from bisect import bisect_right
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from store.files.replacing import replace_file
from stream.broker.errors import Code, RefusedError
from stream.broker.storage.batches import Batch, accept, payload_of, place, records
from stream.broker.storage.configs import TopicConfig
from stream.broker.storage.producers import Producers, Snapshot
from stream.broker.storage.segments import Segment

_LOG_APPEND_TIME = 0x08


class Log:
    """One partition on disk; opening it recovers it."""

    def __init__(self, folder: Path, config: TopicConfig, now_ms: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.compacting = folder / "compacting"  # where compaction writes
        self.config = config
        self.listeners: set[Callable[[], None]] = set()  # called after every append
        self.segments: list[Segment] = []
        self._unsealed: list[tuple[Segment, Snapshot]] = []
        self._producers = Producers()
        self._start_path = folder / "start"
        self._rolled_ms = now_ms
        self.start = int(self._start_path.read_text()) if self._start_path.exists() else 0
        self._recover(now_ms)

    @property
    def end(self) -> int:
        """Offset that the next record gets."""
        return self._active.end_offset

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self.segments)

    def append(self, sent: bytes | memoryview, now_ms: int) -> tuple[int, int]:
        """Stores one batch; its base offset, and the broker's time if the topic stamps it (else -1)."""
        data = bytearray(sent)
        batch = accept(data, self.config.number("max.message.bytes"))
        if self.config.compacted:
            _require_keys(data, batch)
        stored_at = self._producers.repeated(batch)
        append_time_ms = now_ms if self.config.log_append_time else None
        if stored_at is None:
            self._roll_if_due(len(data), now_ms)
            batch = place(data, batch, self.end, append_time_ms)
            self._active.append(data, batch)
            self._producers.absorb(batch, now_ms)
            stored_at = batch.base_offset
            for tell in tuple(self.listeners):
                tell()
        return stored_at, -1 if append_time_ms is None else append_time_ms

    def read(self, offset: int, max_bytes: int, whole: bool = True) -> bytes:
        """Batches from the one that holds `offset` (see Segment.read); empty at the end of the log."""
        if not self.start <= offset <= self.end:
            raise RefusedError(Code.OFFSET_OUT_OF_RANGE, f"offset {offset} is not in [{self.start}, {self.end}]")
        if offset == self.end:
            return b""
        first = max(bisect_right(self.segments, offset, key=lambda segment: segment.base_offset) - 1, 0)
        for segment in self.segments[first:]:
            found = segment.read(offset, max_bytes, whole)
            if found is not None:
                return found
        return b""

    def newest(self) -> tuple[int, int] | None:
        """Offset and timestamp of the first record that bears the latest time of all."""
        kept = [segment.max_timestamp for segment in self.segments if segment.end_offset > self.start]
        latest = max(kept, default=-1)
        return self.first_at(latest) if latest >= 0 else None

    def first_at(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Offset and timestamp of the first record that is not older than `timestamp_ms`."""
        for segment in self.segments:
            found = segment.batch_at_time(timestamp_ms) if segment.end_offset > self.start else None
            if found is None:
                continue
            batch, data = found
            payload = None if batch.attributes & _LOG_APPEND_TIME else payload_of(data, batch)
            if payload is None:  # one time for all, or a codec that is not installed: the batch is the answer
                return max(batch.base_offset, self.start), batch.max_timestamp
            for record in records(payload, batch.record_count):
                offset = batch.base_offset + record.offset_delta
                timestamp = batch.base_timestamp + record.timestamp_delta
                if timestamp >= timestamp_ms and offset >= self.start:
                    return offset, timestamp
        return None

    def delete_before(self, offset: int) -> int:
        """Moves the start of the log forward; the new start."""
        if offset == -1:
            offset = self.end
        if not 0 <= offset <= self.end:
            raise RefusedError(Code.OFFSET_OUT_OF_RANGE, f"offset {offset} is not in [{self.start}, {self.end}]")
        if offset > self.start:
            replace_file(self._start_path, str(offset).encode())  # durable first: what is gone is never served again
            self.start = offset
        while len(self.segments) > 1 and self.segments[1].base_offset <= self.start:
            self.segments.pop(0).remove()
        return self.start

    def retain(self, now_ms: int) -> None:
        """Drops the oldest segments that are over the topic's retention time or size."""
        if not self.config.deletes:
            return
        retention_ms, retention_bytes = self.config.number("retention.ms"), self.config.number("retention.bytes")
        if retention_ms >= 0:
            horizon = now_ms - retention_ms
            while self.segments[0].size and _newest_ms(self.segments[0]) < horizon:
                if len(self.segments) == 1:
                    self.roll(now_ms)
                self.delete_before(self.segments[1].base_offset)
        if retention_bytes >= 0:
            while len(self.segments) > 1 and self.size - self.segments[0].size >= retention_bytes:
                self.delete_before(self.segments[1].base_offset)

    def roll(self, now_ms: int) -> None:
        """Begins a new segment; the one before is sealed later, as that waits for the disk."""
        begun = Segment(self.folder, self.end)
        begun.create()  # should compaction empty all others, the next offset is still known
        self._unsealed.append((self._active, self._producers.snapshot(now_ms)))
        self.segments.append(begun)
        self._rolled_ms = now_ms

    def seal_closed(self) -> list[Segment]:
        """Seals the segments that rolling has closed (may run on a thread); they are to be closed then."""
        sealed = []
        for segment, producers in tuple(self._unsealed):
            segment.seal(producers)
            sealed.append(segment)
        del self._unsealed[: len(sealed)]
        return sealed

    @property
    def sealed(self) -> list[Segment]:
        """The oldest segments, up to the first that is not sealed: what compaction may work on."""
        open_ones = [self._active, *(segment for segment, _ in self._unsealed)]
        return list(takewhile(lambda segment: segment not in open_ones, self.segments))

    def flush(self) -> None:
        """Forces what was appended to the disk (may run on a thread)."""
        for segment, _ in tuple(self._unsealed):
            segment.flush()
        self._active.flush()

    def close(self, now_ms: int) -> None:
        """Closes the files so that the next start need not scan them."""
        self.seal_closed()
        if self._active.size:
            self._active.seal(self._producers.snapshot(now_ms))
        for segment in self.segments:
            segment.close()

    @property
    def _active(self) -> Segment:
        return self.segments[-1]

    def _recover(self, now_ms: int) -> None:
        shutil.rmtree(self.compacting, ignore_errors=True)
        sealed = True
        for path in sorted(self.folder.glob("*.log")):
            segment = Segment(self.folder, int(path.stem))
            if self.segments and segment.base_offset < self.end:
                segment.remove()  # compaction had merged it into the one before when the broker was killed
                continue
            if not sealed:  # the broker was killed before it came to that
                self._unsealed.append((self._active, self._producers.snapshot(now_ms)))
            sealed = segment.recover(self._producers.restore, lambda batch: self._producers.absorb(batch, now_ms))
            self.segments.append(segment)
        if not self.segments or self.end < self.start:
            self.segments.append(Segment(self.folder, self.start))
        self.delete_before(self.start)

    def _roll_if_due(self, incoming: int, now_ms: int) -> None:
        full = self._active.size + incoming > self.config.number("segment.bytes")
        if self._active.size and (full or now_ms - self._rolled_ms > self.config.number("segment.ms")):
            self.roll(now_ms)


def _require_keys(data: bytearray, batch: Batch) -> None:
    payload = payload_of(data, batch)
    if payload is not None and any(record.key is None for record in records(payload, batch.record_count)):
        raise RefusedError(Code.INVALID_RECORD, "a compacted topic takes no record without a key")


def _newest_ms(segment: Segment) -> float:
    return segment.max_timestamp if segment.max_timestamp >= 0 else segment.path.stat().st_mtime * 1000
