"""Committed offsets and group generations: a journal of JSON lines, rewritten when most of it is history.

Invariant: a commit is in the file before it is acknowledged; a line that a crash cut short was never acknowledged and
is dropped. Generations are kept too, so that they never start over: whoever fences by them stays fenced. On a full disk
a commit fails, and a group goes on: its generation is written before anything else once there is room.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from store.files.replacing import replace_file
from store.records.foreign import UNREADABLE

log = logging.getLogger(__name__)

_SMALL = 10_000  # lines that are never worth rewriting


class Committed(NamedTuple):
    """One committed position: the next offset to read, and whatever the client noted with it."""

    offset: int
    metadata: str = ""
    leader_epoch: int = -1


class Offsets:
    """The durable half of consumer groups."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._groups: dict[str, dict[tuple[str, int], Committed]] = {}
        self._generations: dict[str, int] = {}
        self._lines = 0
        self._owed: list[list[object]] = []
        self._fd = -1
        self._replay(path.read_bytes() if path.exists() else b"")
        self._rewrite()

    def groups(self) -> list[str]:
        return list(self._groups | self._generations)

    def of(self, group: str) -> dict[tuple[str, int], Committed]:
        """Committed positions by topic and partition."""
        return self._groups.get(group, {})

    def generation(self, group: str) -> int:
        return self._generations.get(group, 0)

    def commit(self, group: str, positions: dict[tuple[str, int], Committed]) -> None:
        self._write([["c", group, topic, partition, *position] for (topic, partition), position in positions.items()])

    def begin(self, group: str, generation: int) -> None:
        """Remembers the generation that a group has entered."""
        entry: list[object] = ["g", group, generation]
        try:
            self._write([entry])
        except OSError:
            self._owed.append(entry)
            self._absorb(entry)

    def forget(self, group: str) -> None:
        self._write([["d", group]])

    def drop(self, group: str, topic: str, partition: int) -> None:
        self._write([["x", group, topic, partition]])

    def drop_topic(self, topic: str) -> None:
        for group, positions in self._groups.items():
            for name, partition in [key for key in positions if key[0] == topic]:
                self.drop(group, name, partition)

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)

    def flush(self) -> None:
        os.fsync(self._fd)

    def _write(self, entries: list[list[object]]) -> None:
        self._append(b"".join(msgspec.json.encode(entry) + b"\n" for entry in [*self._owed, *entries]))
        self._owed.clear()
        for entry in entries:
            self._absorb(entry)
        live = len(self._generations) + sum(map(len, self._groups.values()))
        if self._lines > _SMALL + 4 * live:
            with suppress(OSError):  # on a full disk the journal stays as long as it is
                self._rewrite()

    def _append(self, lines: bytes) -> None:
        """All of it, or nothing and an error: half a line would take the next one with it."""
        before = os.fstat(self._fd).st_size
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            os.ftruncate(self._fd, before)
            raise

    def _replay(self, journal: bytes) -> None:
        for line in journal.split(b"\n")[:-1]:
            try:
                self._absorb(msgspec.json.decode(line))
            except UNREADABLE:
                log.warning("%s: a broken line is left out: %r", self._path, line)

    def _absorb(self, entry: list[object]) -> None:
        self._lines += 1
        match entry:
            case ["c", str(group), str(topic), int(partition), int(offset), str(metadata), int(epoch)]:
                self._groups.setdefault(group, {})[topic, partition] = Committed(offset, metadata, epoch)
            case ["g", str(group), int(generation)]:
                self._generations[group] = generation
            case ["d", str(group)]:
                self._groups.pop(group, None)
                self._generations.pop(group, None)
            case ["x", str(group), str(topic), int(partition)]:
                self._groups.get(group, {}).pop((topic, partition), None)

    def _rewrite(self) -> None:
        entries: list[list[object]] = [["g", group, number] for group, number in self._generations.items()]
        for group, positions in self._groups.items():
            entries += [["c", group, topic, partition, *at] for (topic, partition), at in positions.items()]
        replace_file(self._path, b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
        self._lines = len(entries)
        replaced, self._fd = self._fd, os.open(self._path, os.O_WRONLY | os.O_APPEND)
        if replaced >= 0:
            os.close(replaced)
