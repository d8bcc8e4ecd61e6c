"""Packed records: bytes by number, out of memory, in a file without a name that is gone with its process.

For what can be had again after a restart and is seldom asked for: memory holds 8 bytes for each record. New ones gather
in memory and are written a quarter of a megabyte at a time; where the disk has no room they stay there, that is told
once, and it is tried again. What is replaced leaves a gap that others fill, in multiples of 64 bytes, but not the
moment after: a reader in another thread may still be at it.

Invariant: `get` returns what was last put under the number, whole, or what stood there before.
"""

from __future__ import annotations

import logging
import os
import tempfile
import weakref
from collections import deque
from pathlib import Path
from typing import IO

import numpy as np

from store.memory.block_pool import grown

log = logging.getLogger(__name__)

WRITTEN_AT_ONCE = 1 << 18
LEFT_ALONE = 256
"""So many gaps of a size are left alone, the last ones made."""
_UNIT = 64
_LENGTH_BITS = 24
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1
_NONE = -1


class PackedRecords:
    """One writer, any readers. Without a `folder`, and while nothing can be written there, all stays in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self._span_N = np.full(0, _NONE, np.int64)  # where it begins << 24 | its length: one number, so that a reader
        self._tail = (0, bytearray())  # sees both change at once; the tail: what is not written yet, from where on
        self._gaps: dict[int, deque[int]] = {}
        self._folder = folder
        self._file: IO[bytes] | None = None  # made when there is enough to write
        self._try_again_at = WRITTEN_AT_ONCE

    def __len__(self) -> int:
        """How many numbers there is room for."""
        return len(self._span_N)

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._span_N) and bool(self._span_N[number] != _NONE)

    def versions(self) -> np.ndarray:
        """`version` of every number there is room for, a copy."""
        return self._span_N.copy()

    def version(self, number: int) -> int:
        """A number that is another one after the record was put anew; -1 without a record."""
        return int(self._span_N[number]) if number in self else _NONE

    def get(self, number: int) -> bytes | None:
        span = self.version(number)
        if span == _NONE:
            return None
        begin, length = span >> _LENGTH_BITS, span & _LENGTH_MASK
        first, tail = self._tail  # read after the span: what the span tells of is in this tail, or written
        if begin >= first:
            return bytes(tail[begin - first : begin - first + length])
        assert self._file is not None
        return os.pread(self._file.fileno(), length, begin)

    def put(self, number: int, data: bytes) -> None:
        """Raises `ValueError` for 16 MiB or more."""
        if len(data) > _LENGTH_MASK:
            raise ValueError(f"a record of {len(data)} bytes: {_LENGTH_MASK} are the most")
        self._span_N = grown(self._span_N, number + 1, _NONE)
        before, begin = self.version(number), self._place(data)
        self._span_N[number] = begin << _LENGTH_BITS | len(data)
        self._leave(before)

    def remove(self, number: int) -> None:
        """Forgets a record; one that is not there changes nothing."""
        before = self.version(number)
        if before != _NONE:
            self._span_N[number] = _NONE
            self._leave(before)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _place(self, data: bytes) -> int:
        """Puts bytes into a gap, or behind all others; where they begin."""
        gaps = self._gaps.get(_room(len(data)))
        if gaps is not None and len(gaps) > LEFT_ALONE and self._fill(gaps[0], data):
            return gaps.popleft()
        first, tail = self._tail
        begin = first + len(tail)
        tail += data.ljust(_room(len(data)), b"\0")
        if len(tail) >= self._try_again_at:
            self._write()
        return begin

    def _fill(self, begin: int, data: bytes) -> bool:
        first, tail = self._tail
        if begin >= first:
            tail[begin - first : begin - first + len(data)] = data
            return True
        assert self._file is not None
        try:
            return os.pwrite(self._file.fileno(), data, begin) == len(data)
        except OSError:
            return False

    def _write(self) -> None:
        if self._folder is None:
            return
        first, tail = self._tail
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (until `close`)
                weakref.finalize(self, self._file.close)
            written = 0
            while written < len(tail):
                written += os.pwrite(self._file.fileno(), memoryview(tail)[written:], first + written)
        except OSError as error:
            if self._try_again_at == WRITTEN_AT_ONCE:
                log.warning("records stay in memory, they cannot be written into %s (%s)", self._folder, error)
            self._try_again_at = len(tail) + WRITTEN_AT_ONCE
            return
        self._try_again_at = WRITTEN_AT_ONCE
        self._tail = (first + len(tail), bytearray())

    def _leave(self, span: int) -> None:
        if span != _NONE:
            self._gaps.setdefault(_room(span & _LENGTH_MASK), deque()).append(span >> _LENGTH_BITS)


def _room(length: int) -> int:
    return max(1, -(-length // _UNIT)) * _UNIT
