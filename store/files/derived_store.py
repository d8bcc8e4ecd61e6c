"""Derived stores: RocksDB folders whose content can be made again from the log, which therefore mend themselves.

What is damaged cannot be mended, and need not be: the folder is set aside and an empty one takes its place, which is
filled from the log like that of a new machine. Damage that shows only when something is read ends the process, with
that as its message; a mark in the folder tells the next start.

Invariant: only what RocksDB calls corruption sets a folder aside: not another owner, a full disk, or missing rights.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, ReadOptions, WriteBatch, WriteBufferManager

from store.files.databases import close_database, open_database, write_batch

log = logging.getLogger(__name__)

MARK = "DAMAGED"
ASIDE = ".damaged"
WRITE_BUFFER_BYTES = 16 << 20
WRITE_BUFFERS = WriteBufferManager(32 << 20, allow_stall=False)
"""What all stores of a process together hold before one writes it out: a worker has four for each of its partitions."""
BLOCK_CACHE_BYTES = 16 << 20
BLOCK_CACHE = Cache(BLOCK_CACHE_BYTES)
"""What all stores of a process together keep of what they read. By default each would keep 32 MiB, filled by ids that
come once. What is asked for often lies decoded in the stores' own caches, the rest in the operating system's."""
FILTER_BITS = 10.0
"""For each key: of a hundred that were never written, one costs a look at the disk."""


class DamagedStoreError(RuntimeError):
    """A folder of rows is damaged. Start the process again: the folder is set aside, and its rows come from the log."""


class DerivedStore:
    """One folder, open. `rebuilt`: what was there was damaged, and this one is empty. What is damaged when it is read
    raises `DamagedStoreError`."""

    def __init__(self, folder: Path, options: Callable[[], Options], first: bytes, failure: type[Exception]) -> None:
        """`first`: a key that is read at once. `failure`: what is raised where it cannot be opened or written."""
        self._folder, self._failure = folder, failure
        self.rebuilt = (folder / MARK).exists()
        if self.rebuilt:
            set_aside(folder, "it was marked when it was read")
        try:
            self._db = _opened(folder, options(), first, failure)
        except Exception as error:
            if not _is_damage(error):
                raise
            set_aside(folder, str(error.__cause__ or error))
            self._db, self.rebuilt = _opened(folder, options(), first, failure), True

    def get(self, key: Any) -> Any:
        """The value of a key, or those of a list of keys."""
        try:
            return self._db.get(key)
        except Exception as error:
            raise self._told(error) from error

    def write(self, batch: WriteBatch) -> None:
        try:
            write_batch(self._db, batch, self._failure)
        except Exception as error:
            raise self._told(error) from error

    def items(self, from_key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values in order, as of the call. RocksDB ends where it finds damage, as if nothing followed. What is
        passed through on the way does not push out what is asked for by key."""
        reading = ReadOptions()
        reading.fill_cache(False)
        cursor = self._db.iter(reading)
        cursor.seek(from_key)
        return self._read(cursor)

    def _read(self, cursor: Any) -> Iterator[tuple[bytes, bytes]]:
        while cursor.valid():
            yield cursor.key(), cursor.value()
            cursor.next()
        try:
            cursor.status()
        except Exception as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> Exception:
        if not _is_damage(error):
            return error
        (self._folder / MARK).touch()
        return DamagedStoreError(f"{self._folder} is damaged ({error}): start again, its rows come back from the log")

    def close(self) -> None:
        close_database(self._db)


def derived_options() -> Options:
    """How RocksDB opens the stores of a worker."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_background_jobs(2)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_write_buffer_manager(WRITE_BUFFERS)
    options.set_block_based_table_factory(_tables())
    options.set_keep_log_file_num(2)
    return options


def _tables() -> BlockBasedOptions:
    tables = BlockBasedOptions()
    tables.set_block_cache(BLOCK_CACHE)
    tables.set_bloom_filter(FILTER_BITS, False)
    return tables


def set_aside(folder: Path, why: str) -> None:
    """Moves a damaged folder out of the way, for whoever wants to look at it; the one before it goes."""
    aside = folder.with_name(folder.name + ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    log.error("%s is damaged (%s): set aside as %s, its rows come from the log", folder, why, aside.name)


def set_aside_too(folder: Path, rebuilt: bool) -> None:
    """Sets a folder aside if the one that it belongs to was."""
    if rebuilt and folder.exists():
        set_aside(folder, "what belongs to it is")


def _opened(folder: Path, options: Options, first: bytes, failure: type[Exception]) -> Rdict:
    database = open_database(folder, options, failure)
    try:
        database.get(first)
    except Exception:
        database.close()
        raise
    return database


def _is_damage(error: Exception) -> bool:
    return str(error.__cause__ or error).startswith("Corruption")
