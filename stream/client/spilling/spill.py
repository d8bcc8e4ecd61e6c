"""Spill: a bounded queue of records in one file of a folder, which survives whatever ends its process.

The file is a SQLite database with a rollback journal, forced to the disk with every commit (`synchronous=EXTRA`): what
`append` returned from is there after a crash or a loss of power, and a write that was cut in two is undone when the
folder is next opened. It holds topics, keys and values of records, and what `note` was told; no addresses, no secrets.

Invariants: one process owns the folder (`FolderLock`); records keep the order in which they were appended; a record is
there until `remove`; each bears a checksum, so none that the disk has changed is sent.

Errors: `SpillError` when the folder cannot be used, `SpillFullError` when nothing more fits. Each says what to do.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from store.files.folder_lock import FolderInUseError, FolderLock, FolderUnusableError

log = logging.getLogger(__name__)

FILE, OWNER = "spill.sqlite3", "publisher"
RECORD_BYTES = 100
"""What a record takes beside its key and value, about."""
_OURS = frozenset({FILE, f"{FILE}-journal", f"{OWNER}.lock", "lost+found"})
_APPLICATION = 0x73645370
"""The mark by which a file is known to be a spill."""
_FORM = 1
_SHRINK_BYTES = 1 << 20
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE noted (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE spilled (
    number INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, partition INTEGER NOT NULL, events INTEGER NOT NULL,
    came_at_ms INTEGER NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL, key BLOB NOT NULL, value BLOB
);
CREATE INDEX by_place ON spilled (topic, partition, number, events, size);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORM};
COMMIT;
"""

_READ = """
SELECT number, checksum, topic, partition, key, value, came_at_ms, events FROM spilled
WHERE topic = ? AND partition = ? AND number > ? ORDER BY number LIMIT ?
"""
_TOTALS = "SELECT topic, partition, count(*) FROM spilled GROUP BY topic, partition"

Place = tuple[str, int]
"""Topic, by its full name, and partition."""


class SpillError(RuntimeError):
    """The folder cannot be a spill: another process has it, it holds something else, or it is damaged."""


class SpillFullError(RuntimeError):
    """Nothing more fits: bring the brokers back, raise `spill_limit_bytes`, or make room on the disk."""


class Spilled(NamedTuple):
    """A record as it goes onto the log. `value` None is a tombstone; `came_at_ms`: when it was first to go there, by
    the broker's clock; `events`: how many it holds."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    came_at_ms: int
    events: int

    @property
    def place(self) -> Place:
        return self.topic, self.partition

    @property
    def size(self) -> int:
        """What it counts for, bytes."""
        return len(self.key) + len(self.value or b"") + RECORD_BYTES

    @property
    def checksum(self) -> int:
        head = f"{self.topic} {self.partition} {self.came_at_ms} {self.events} {self.value is None}".encode()
        return zlib.crc32(self.value or b"", zlib.crc32(self.key, zlib.crc32(head)))


class Kept(NamedTuple):
    """A record in the file. Not `intact`: the disk has changed it."""

    number: int
    record: Spilled
    intact: bool


class Spill:
    """The queue in `folder`, which it makes. Not locked: one thread at a time may use it."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.file = folder / FILE
        self._limit = limit_bytes
        self._lock = _locked(folder)
        try:
            self._refuse_others(folder)
            self._base = self._opened()
        except BaseException:
            self._lock.close()
            raise
        self.held = {(row[0], row[1]): row[2] for row in self._base.execute(_TOTALS)}
        """Partition → records that lay here at the beginning."""
        self.events, self.bytes = self._base.execute(
            "SELECT coalesce(sum(events), 0), coalesce(sum(size), 0) FROM spilled"
        ).fetchone()

    def append(self, records: Sequence[Spilled]) -> int:
        """Takes the first ones, as many as the limit allows, and returns how many: these are on the disk. Raises
        `SpillFullError` when the disk has no room; then it has taken none."""
        fitting = self._fitting(records)
        rows = [
            (one.topic, one.partition, one.events, one.came_at_ms, one.size, one.checksum, one.key, one.value)
            for one in fitting
        ]
        with self._transaction():
            self._base.executemany(
                "INSERT INTO spilled (topic, partition, events, came_at_ms, size, checksum, key, value)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        self.events += sum(one.events for one in fitting)
        self.bytes += sum(one.size for one in fitting)
        return len(fitting)

    def read(self, place: Place, after: int, records: int, size: int) -> list[Kept]:
        """The next ones of a partition behind the number `after`: so many, or so many bytes, and one at least. Raises
        `SpillError` when the disk does not give them."""
        found: list[Kept] = []
        try:
            for number, checksum, *columns in self._base.execute(_READ, (*place, after, records)):
                one = Spilled(*columns)
                found.append(Kept(number, one, one.checksum == checksum))
                size -= one.size
                if size <= 0:
                    break
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        return found

    def remove(self, numbers: Iterable[int]) -> None:
        """Takes records out. Raises `SpillFullError` when the disk has no room for that; then they are still there."""
        events, size = 0, 0
        with self._transaction():
            for number in numbers:
                for row in self._base.execute("DELETE FROM spilled WHERE number = ? RETURNING events, size", (number,)):
                    events, size = events + row[0], size + row[1]
        self.events -= events
        self.bytes -= size
        if size and not self.bytes and self.file.stat().st_size > _SHRINK_BYTES:
            with suppress(sqlite3.Error):  # the room is used again in any case
                self._base.execute("VACUUM")

    def full(self) -> SpillFullError:
        """What is wrong when the limit is reached."""
        return SpillFullError(
            f"the spill {self.file} holds {self.bytes} bytes, and may hold {self._limit}: bring the brokers back, or "
            "raise spill_limit_bytes, then publish its events again"
        )

    def note(self, name: str, value: str) -> None:
        """Keeps a word about the records for the next process. Raises `SpillFullError`."""
        if self.noted(name) != value:
            with self._transaction():
                self._base.execute("INSERT OR REPLACE INTO noted VALUES (?, ?)", (name, value))

    def noted(self, name: str) -> str | None:
        found = self._base.execute("SELECT value FROM noted WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def close(self) -> None:
        self._base.close()
        self._lock.close()

    def _fitting(self, records: Sequence[Spilled]) -> Sequence[Spilled]:
        held = self.bytes
        for index, one in enumerate(records):
            held += one.size
            if held > self._limit:
                return records[:index]
        return records

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._base.execute("BEGIN IMMEDIATE")
            yield
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                self._base.execute("ROLLBACK")
            raise SpillFullError(
                f"the spill {self.file} cannot be written ({error}): make room on its disk, or mend it, then publish "
                "its events again"
            ) from error

    def _refuse_others(self, folder: Path) -> None:
        foreign = sorted({entry.name for entry in folder.iterdir()} - _OURS)
        if foreign:
            raise SpillError(f"{folder / foreign[0]} is not of a spill: give the publisher a folder of its own")
        if (folder / f"{FILE}-journal").exists() and (folder / f"{FILE}-journal").stat().st_size:
            log.warning(
                "%s: its last owner ended in the middle of a write, which is undone: nothing of it was told as spilled",
                self.file,
            )

    def _opened(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            base = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise SpillError(f"{self.file} cannot be opened ({error}): give another folder, or mend it") from None
        try:
            self._prepare(base)
        except sqlite3.Error as error:
            base.close()
            raise self._damaged(error) from None
        except BaseException:
            base.close()
            raise
        return base

    def _prepare(self, base: sqlite3.Connection) -> None:
        """Checks every page, and makes the tables of a new file."""
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = TRUNCATE", "synchronous = EXTRA"):
            base.execute(f"PRAGMA {setting}")
        mark, form = (base.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if not base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            base.executescript(_SCHEMA)
        elif mark != _APPLICATION:
            raise SpillError(f"{self.file} is another program's database: give the publisher a folder of its own")
        elif form != _FORM:
            raise SpillError(
                f"{self.file} has the form {form}, and this release reads {_FORM}: empty it with the one that wrote it"
            )
        elif (said := base.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise self._damaged(said)

    def _damaged(self, why: object) -> SpillError:
        return SpillError(
            f"{self.file} is damaged, or no spill ({why}): move it away and start again; what can be saved of it, "
            "`sqlite3 FILE .recover` shows"
        )


def _locked(folder: Path) -> FolderLock:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FolderLock(folder, OWNER)
    except FolderInUseError as error:
        raise SpillError(
            f"the spill {folder} is held by another publisher, {error.holder}: close that one, or give this one a "
            "folder of its own"
        ) from None
    except (FolderUnusableError, OSError) as error:
        raise SpillError(
            f"the spill {folder} cannot be used ({error.__cause__ or error.args[-1]}): give another folder, or mend it"
        ) from None
