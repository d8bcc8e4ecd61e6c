"""Table files: rows to CSV, JSON lines or Parquet, a batch at a time, by the kinds of their columns.

Invariant: a file takes its name when it is whole and on the disk; what ends the writing before leaves what was there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "number", "whole", "texts", "wholes", "numbers", "json"]
"""What a column holds; lists and `json` (anything) are JSON text where a form has no such values."""
Columns = Mapping[str, Kind]
Rows = list[dict[str, Any]]
Write = Callable[[Rows], None]

LISTS = ("texts", "wholes", "numbers", "json")


@contextmanager
def table_file(file: Path, columns: Columns) -> Iterator[Write]:
    """What writes batches beside the file, in the form that its name says. Raises `FileNotFoundError` for another."""
    from store.files.replacing import sync

    writers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if file.suffix not in writers:
        raise FileNotFoundError(f"{file}: end its name in {', '.join(writers)}")
    temporary = file.with_name(file.name + ".tmp")
    try:
        with writers[file.suffix](temporary, columns) as write:
            yield write
        sync(temporary)
        temporary.rename(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path, columns: Columns) -> Iterator[Write]:
    as_text = [name for name, kind in columns.items() if kind in LISTS]
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(columns))
        writer.writeheader()
        yield lambda rows: writer.writerows(_with_text(row, as_text) for row in rows)


@contextmanager
def _jsonl(path: Path, _: Columns) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as opened:
        yield lambda rows: opened.writelines(_text(row) + "\n" for row in rows)


@contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Write]:
    from stream.client.tables.rows import pyarrow

    arrow = pyarrow()
    kinds = {
        "number": arrow.float64(),
        "whole": arrow.int64(),
        "texts": arrow.list_(arrow.string()),
        "wholes": arrow.list_(arrow.int64()),
        "numbers": arrow.list_(arrow.float32()),
    }
    schema = arrow.schema([(name, kinds.get(kind, arrow.string())) for name, kind in columns.items()])
    as_text = [name for name, kind in columns.items() if kind == "json"]
    with arrow.parquet.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(
            arrow.Table.from_pylist([_with_text(row, as_text) for row in rows], schema)
        )


def _with_text(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The row with JSON text in these columns; nothing stays nothing."""
    return {**row, **{name: _text(row[name]) for name in names if row[name] is not None}} if names else row


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
