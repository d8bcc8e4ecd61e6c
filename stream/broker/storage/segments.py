"""One segment: a file of consecutive record batches, with a sparse index and, once closed, a seal.

Invariant: bytes [0, size) of the file are whole batches in offset order. A batch is in the file (one write(2)) before
anyone is told so; after a crash the file is scanned batch by batch with checksums and cut where the first broken one
begins (the tail is put aside as `….cut`, never thrown away). A seal beside a closed segment saves the index and the
idempotent producers' state as of the segment's end, so that recovery scans only what was written after the last seal;
a seal whose size is not the file's is not believed for the index.
"""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from store.files.crash_points import reached
from store.files.replacing import replace_file
from store.records.foreign import UNREADABLE
from stream.broker.errors import Code, RefusedError
from stream.broker.storage.batches import HEADER, HEADER_SIZE, Batch, header_at, intact
from stream.broker.storage.producers import Snapshot

log = logging.getLogger(__name__)

_INDEX_EVERY = 16 * 1024  # bytes between two index entries; bounds how far a lookup walks
_NO_TIMESTAMP = -1


class Seal(msgspec.Struct):
    """What a closed segment remembers of itself."""

    size: int
    end_offset: int
    max_timestamp: int
    offsets: list[int]
    positions: list[int]
    times: list[int]
    producers: Snapshot
    clean: bool  # compaction has seen it


class Segment:
    """A file of batches from `base_offset` up to `end_offset`."""

    def __init__(self, folder: Path, base_offset: int) -> None:
        self.base_offset = base_offset
        self.path = folder / f"{base_offset:020d}.log"
        self.seal_path = self.path.with_suffix(".seal")
        self.size = 0
        self.end_offset = base_offset
        self.max_timestamp = _NO_TIMESTAMP
        self.clean = False
        self._fd: int | None = None
        self._offsets, self._positions = array("q"), array("q")
        self._times = array("q")  # highest timestamp before each entry: never falls, so it can be searched

    def recover(self, restore: Callable[[Snapshot], None], absorb: Callable[[Batch], None]) -> bool:
        """Opens an existing file: by its seal where that is valid (True), else batch by batch."""
        seal = self._read_seal()
        if seal is not None:
            restore(seal.producers)
            if seal.size == self.path.stat().st_size:
                self.size, self.end_offset, self.max_timestamp = seal.size, seal.end_offset, seal.max_timestamp
                self._offsets, self._positions = array("q", seal.offsets), array("q", seal.positions)
                self._times, self.clean = array("q", seal.times), seal.clean
                return True
        self._scan(absorb)
        return False

    def append(self, data: bytes | bytearray, batch: Batch) -> None:
        """Writes one placed batch at the end: all of it, or nothing and an error."""
        fd = self.create()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
        except OSError as error:
            os.ftruncate(fd, self.size)
            raise _not_written(self.path, error) from error
        self._note(batch)

    def create(self) -> int:
        """Makes an empty file, unless there is one; its descriptor."""
        try:
            return self._open()
        except OSError as error:
            raise _not_written(self.path, error) from error

    def read(self, offset: int, max_bytes: int, whole: bool) -> bytes | None:
        """Batches from the one that holds `offset`: up to `max_bytes`, the last perhaps cut short as in Kafka.

        None where the segment ends before `offset`. A first batch over `max_bytes` comes only if `whole`.
        """
        start = bisect_right(self._offsets, offset) - 1
        for at, batch in self._walk(max(start, 0)):
            if batch.next_offset > offset:
                wanted = max(max_bytes, batch.size if whole else 0)
                return self._pread(min(wanted, self.size - at), at) if wanted >= batch.size else b""
        return None

    def batch_at_time(self, timestamp_ms: int) -> tuple[Batch, bytes] | None:
        """The first batch that holds a record of `timestamp_ms` or later, with its bytes."""
        if self.max_timestamp < timestamp_ms:
            return None
        start = bisect_left(self._times, timestamp_ms) - 1
        for at, batch in self._walk(max(start, 0)):
            if batch.max_timestamp >= timestamp_ms:
                return batch, self._pread(batch.size, at)
        return None

    def batches(self) -> Iterator[tuple[Batch, bytes]]:
        """Every batch with its bytes; for housekeeping, which gives way to whoever waits."""
        with open(self.path, "rb") as file:
            while header := file.read(HEADER_SIZE):
                batch = Batch._make(HEADER.unpack(header))
                yield batch, header + file.read(batch.size - HEADER_SIZE)
                time.sleep(0)

    def seal(self, producers: Snapshot) -> None:
        """Notes what a file that is not written any more holds, so that the next start need not scan it."""
        self.flush()
        index = (self._offsets.tolist(), self._positions.tolist(), self._times.tolist())
        seal = Seal(self.size, self.end_offset, self.max_timestamp, *index, producers, self.clean)
        replace_file(self.seal_path, msgspec.json.encode(seal))

    def producers(self) -> Snapshot:
        """The producers' state in the seal."""
        seal = self._read_seal()
        return seal.producers if seal else []

    def disown_index(self) -> None:
        """From now on the next start scans the file, although the seal beside it still tells of the producers."""
        seal = self._read_seal()
        if seal is not None:
            seal.size = -1
            replace_file(self.seal_path, msgspec.json.encode(seal))

    def flush(self) -> None:
        if self._fd is not None:
            os.fsync(self._fd)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
        reached("segment_unlinked")
        self.seal_path.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        return self._fd

    def _pread(self, size: int, at: int) -> bytes:
        if self._fd is not None:
            return os.pread(self._fd, size, at)
        with open(self.path, "rb", buffering=0) as file:  # closed segments hold no descriptor
            return os.pread(file.fileno(), size, at)

    def _walk(self, entry: int) -> Iterator[tuple[int, Batch]]:
        """Positions and headers of the batches from an index entry on; reads headers only, a window at a time."""
        at = self._positions[entry] if self._positions else self.size
        window, window_at = b"", at
        while at < self.size:
            if at + HEADER_SIZE > window_at + len(window):
                window, window_at = self._pread(_INDEX_EVERY + HEADER_SIZE, at), at
            batch = Batch._make(HEADER.unpack_from(window, at - window_at))
            yield at, batch
            at += batch.size

    def _note(self, batch: Batch) -> None:
        if not self._positions or self.size - self._positions[-1] >= _INDEX_EVERY:
            self._offsets.append(batch.base_offset)
            self._positions.append(self.size)
            self._times.append(self.max_timestamp)
        self.size += batch.size
        self.end_offset = batch.next_offset
        self.max_timestamp = max(self.max_timestamp, batch.max_timestamp)

    def _scan(self, absorb: Callable[[Batch], None]) -> None:
        on_disk = self.path.stat().st_size
        if on_disk:
            with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self._scan_data(memoryview(data), absorb)
        if self.size < on_disk:
            self._cut(on_disk)

    def _scan_data(self, data: memoryview, absorb: Callable[[Batch], None]) -> None:
        with data:
            while (batch := header_at(data, self.size)) is not None:
                if batch.base_offset < self.end_offset or not intact(data, batch, self.size):
                    return
                self._note(batch)
                absorb(batch)

    def _cut(self, on_disk: int) -> None:
        aside = self.path.with_suffix(".cut")
        with open(self.path, "rb") as source, open(aside, "wb") as target:
            source.seek(self.size)
            shutil.copyfileobj(source, target)
        os.truncate(self.path, self.size)
        log.warning(
            "%s: broken after byte %d: %d bytes cut and kept in %s", self.path, self.size, on_disk - self.size, aside
        )

    def _read_seal(self) -> Seal | None:
        try:
            return msgspec.json.decode(self.seal_path.read_bytes(), type=Seal)
        except (FileNotFoundError, *UNREADABLE):
            return None


def _not_written(path: Path, error: OSError) -> RefusedError:
    return RefusedError(Code.STORAGE_ERROR, f"{path} cannot be written: {error}")
