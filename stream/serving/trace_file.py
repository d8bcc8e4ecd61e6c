"""The trace file: what a scorer saw of items and no log has, kept beside its rows so that a restart does not forget it.

A line for each change, `[item_id, {stage: at}]`, the whole of what is known; the last one of an item counts. It is for
people who look into things, so a disk that takes nothing costs no more than that.

Invariant: lines that are broken (a process or machine ended in the middle) are passed over; the file never grows beyond
a few times what it is asked to keep.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from store.reporting.outages import Outage

log = logging.getLogger(__name__)

Times = dict[str, float]
"""Stage → when it was reached, epoch seconds."""

RETRY_S = 10.0
"""A disk that took nothing is asked again after this time: each try writes everything anew."""

SPARE_LINES = 4
"""So many lines for each item that is kept make the file worth writing anew."""

_lines = msgspec.json.Decoder(tuple[str, Times])


class TraceFile:
    """Reads, appends, and now and then writes anew."""

    def __init__(self, path: Path, retry_s: float = RETRY_S) -> None:
        self._path, self._retry_s = path, retry_s
        self._file: int | None = None
        self._lines = 0
        self._due_s = 0.0
        self._away = Outage(log, f"{path} cannot be written", "traces are kept in memory only")

    def read(self) -> Iterator[tuple[str, Times]]:
        """What was written, oldest first."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return
        for line in content.splitlines():
            try:
                yield _lines.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue

    def add(self, item_id: str, times: Times, kept: Sequence[Mapping[str, Times]]) -> None:
        """Appends what is known of an item. `kept` is all that is to be found again, each item in one of the mappings:
        together they are counted with every line."""
        if time.monotonic() < self._due_s:
            return
        try:
            if self._file is None or self._lines > SPARE_LINES * max(1000, sum(map(len, kept))):
                self._write_anew(kept)
            else:
                os.write(self._file, _line(item_id, times))
                self._lines += 1
        except OSError as error:
            self.close()
            self._due_s = time.monotonic() + self._retry_s
            self._away.met(error.strerror)
        else:
            self._away.over()

    def _write_anew(self, kept: Sequence[Mapping[str, Times]]) -> None:
        self.close()
        lines = [_line(item_id, times) for item_id, times in chain.from_iterable(one.items() for one in kept)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(self._path.name + ".tmp")
        temporary.write_bytes(b"".join(lines))
        temporary.rename(self._path)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._lines = len(lines)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _line(item_id: str, times: Times) -> bytes:
    return msgspec.json.encode((item_id, times)) + b"\n"
