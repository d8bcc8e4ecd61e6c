"""Rows: CSV, JSON lines and Parquet as one stream of rows, each with its number, read a piece at a time.

Invariant: of a file of any length no more is held than a line, or a batch of a Parquet file; a row that cannot be read
is named by its number and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from store.records.foreign import UNREADABLE
from store.records.frames import raw_events
from store.records.missing_extra import MissingExtraError
from stream.client.csv_lines import Table, cells
from stream.client.line_files import Convert, Line, RecordingError, read_lines

FORMATS = ("csv", "jsonl", "parquet")
_SEPARATORS = (",", ";", "\t", "|")
_MAGIC = b"PAR1"
BATCH_ROWS = 1024

Check = Callable[[list[str]], str]
"""What the columns of a file lack, in words; empty when nothing."""


class Row(NamedTuple):
    """One row: `number` counts from 1 (in text files the line, the heading included); `fields` None where the row is no
    object, then `raw` holds it. `position`: how far into the file it lies, bytes. `fault`: why it cannot be read."""

    number: int
    fields: dict[str, Any] | None
    position: int
    fault: str = ""
    raw: bytes = b""


def format_of(file: Path) -> str:
    """What a file is, by its beginning: Parquet by its magic, CSV unless its first line is JSON."""
    if str(file) == "-":
        return "jsonl"
    with file.open("rb") as opened:
        if opened.read(len(_MAGIC)) == _MAGIC:
            return "parquet"
    first = next(iter(read_lines(file, exact=True)), None)
    return "csv" if first is not None and first.value[:1] not in (b"{", b"[", b"") else "jsonl"


def read_rows(file: Path, form: str, check: Check) -> Iterator[Row]:
    """The rows of a file in one of `FORMATS` (`-`: standard input; not Parquet). `check` is asked of the columns of a
    table before its first row. Raises `RecordingError`, `MissingExtraError`."""
    if form == "parquet":
        yield from _parquet_rows(file, check)
        return
    table = partial(_table, check=check) if form == "csv" else (lambda _line, _name: None)
    for line in read_lines(file, table=table):
        yield from _rows_of(line)


def _rows_of(line: Line) -> Iterator[Row]:
    """The events of a line, which may itself be a frame."""
    if line.fault:
        yield Row(line.number, None, line.position, line.fault)
        return
    for raw in raw_events(line.value) if line.value.startswith(b'{"events"') else [line.value]:
        try:
            fields = msgspec.json.decode(raw)
        except UNREADABLE:
            fields = None
        yield Row(line.number, fields if isinstance(fields, dict) else None, line.position, raw=raw)


def _table(first: bytes, name: str, check: Check) -> Convert:
    try:
        text = first.decode()
    except UnicodeDecodeError:
        raise RecordingError(f"{name} is not UTF-8: convert it first, e.g. iconv -f WINDOWS-1252 -t UTF-8") from None
    separator = max(_SEPARATORS, key=lambda each: len(cells(text, each)))
    heading = cells(text, separator)
    if len(set(heading)) < len(heading):
        raise RecordingError(f"{name}: two columns have the same name: {text[:200]}")
    if lacking := check(heading):
        raise RecordingError(f"{name}: {lacking}")
    return Table(heading, separator, {})


def _parquet_rows(file: Path, check: Check) -> Iterator[Row]:
    with _opened(file) as parquet:
        if lacking := check(list(parquet.schema_arrow.names)):
            raise RecordingError(f"{file}: {lacking}")
        size, rows = file.stat().st_size, max(1, parquet.metadata.num_rows)
        number = 0
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
            for fields in batch.to_pylist():
                number += 1
                yield Row(number, _plain(fields), size * number // rows)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    arrow = pyarrow()
    try:
        with arrow.parquet.ParquetFile(file, memory_map=False) as parquet:
            yield parquet
    except arrow.lib.ArrowException as error:
        raise RecordingError(f"{file} is no whole Parquet file ({str(error)[:200]}): copy or write it again") from None


def pyarrow() -> Any:
    """pyarrow with its Parquet module. Raises `MissingExtraError`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Parquet needs pyarrow: pip install 'sidestream[parquet]'") from None
    return pyarrow


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Maps come as lists of pairs."""
    return {
        name: dict(value)
        if isinstance(value, list) and value and all(isinstance(each, tuple) for each in value)
        else value
        for name, value in fields.items()
    }
