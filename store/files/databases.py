"""Databases: RocksDB as the stores open, write and close it, with errors that say what to do.

What a batch that was refused by a full disk held is not there, and what was written before is, also when the process
ends without another word: the next start reads RocksDB's own log.
"""

from __future__ import annotations

import logging
from pathlib import Path

from rocksdict import AccessType, Options, Rdict, WriteBatch

from store.files.room import remedy_of

log = logging.getLogger(__name__)


def open_database(folder: Path, options: Options, failure: type[Exception]) -> Rdict:
    """Opens or makes one; raises `failure`, with the cause and what to do."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Rdict(str(folder), options, access_type=AccessType.read_write())
    except Exception as error:
        remedy = remedy_of(error, "Is another worker using this data folder?")
        raise failure(f"cannot open {folder}: {error}. {remedy}") from error


def write_batch(database: Rdict, batch: WriteBatch, failure: type[Exception]) -> None:
    """Writes all of the batch or nothing; raises `failure`, with the cause and what to do."""
    try:
        database.write(batch)
    except Exception as error:
        remedy = remedy_of(error, "repair its disk, or give another --data-dir: the log has everything")
        raise failure(f"cannot write {database.path()}: {error}: {remedy}") from error


def close_database(database: Rdict) -> None:
    """Closes it. One that could not be written last does not close well; nothing is lost by that."""
    folder = database.path()
    try:
        database.close()
    except Exception as error:
        log.warning("%s was not closed well: %s", folder, error)
