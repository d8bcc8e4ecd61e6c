"""`sidestream export`: what the log holds, as a file for other systems."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from store.topics import ENGAGEMENTS, FORGOTTEN_USERS
from stream.cli.arguments.options import LOG, Options, command

if TYPE_CHECKING:
    from store.settings import Settings

app = typer.Typer()

BATCH_ROWS = 5000
NUMBERS = ("occurred_at", "value", "published_at")
WHOLE = ("partition", "offset")

What = Annotated[Literal["interactions"], typer.Argument(help="What to export.", metavar="interactions")]
Out = Annotated[Path, typer.Argument(help="The file to write: .csv, .jsonl or .parquet.", metavar="FILE")]
Rows = list[dict[str, Any]]


@command(app, takes=LOG)
def export(options: Options, what: What, file: Out) -> None:
    """Write the engagements that the log holds now to a file: CSV, JSON lines, or Parquet (the extra `parquet`).

    A row is an accepted event with its fields, when the broker had it (published_at), and its place in the log
    (partition, offset). Events from before their user was forgotten are left out; an event that was published twice
    comes twice, with the same event_id. The file takes its name when it is whole.

    Example: sidestream export interactions clicks.parquet --data-dir ./data
    """
    settings = options.system().settings
    rows = 0
    with _writer(file) as write:
        for batch in _batches(_interactions(settings)):
            write(batch)
            rows += len(batch)
    options.emit({"exported": what, "rows": rows, "file": str(file)}, f"{rows} {what} written to {file}")


def columns() -> list[str]:
    """The columns of interactions."""
    from store.events import Engagement

    return [*Engagement.__struct_fields__, "published_at", *WHOLE]


def _interactions(settings: Settings) -> Iterator[dict[str, Any]]:
    from store.envelopes.reading import event_reader
    from store.events import Engagement
    from store.log import Log, engagements, forgotten_in

    with Log(settings.kafka) as log:
        ledger = forgotten_in(log.read_all(settings.topic(FORGOTTEN_USERS)))
        forget = {user_id: one.forgotten_at_ms for user_id, one in ledger.items()}
        records = log.read_all(settings.topic(ENGAGEMENTS))
        for each in engagements(records, now=time.time(), reader=event_reader(settings), forget=forget):
            row = {name: getattr(each.event, name) for name in Engagement.__struct_fields__}
            row |= {"published_at": each.timestamp_ms / 1000, "partition": each.partition, "offset": each.offset}
            yield row


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[Rows]:
    batch: Rows = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    yield batch


@contextmanager
def _writer(file: Path) -> Iterator[Callable[[Rows], None]]:
    """What writes batches beside the file; at the end they are forced to the disk, and take its name."""
    from store.files.replacing import sync

    writers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if file.suffix not in writers:
        raise FileNotFoundError(f"{file}: end its name in {', '.join(writers)}")
    temporary = file.with_name(file.name + ".tmp")
    try:
        with writers[file.suffix](temporary) as write:
            yield write
        sync(temporary)
        temporary.rename(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _csv(path: Path) -> Iterator[Callable[[Rows], None]]:
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, columns())
        writer.writeheader()
        yield writer.writerows


@contextmanager
def _jsonl(path: Path) -> Iterator[Callable[[Rows], None]]:
    with path.open("w", encoding="utf-8") as opened:
        yield lambda rows: opened.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[Rows], None]]:
    from stream.client.tables.rows import pyarrow

    arrow = pyarrow()
    kinds = {**dict.fromkeys(NUMBERS, arrow.float64()), **dict.fromkeys(WHOLE, arrow.int64())}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in columns()])
    with arrow.parquet.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(arrow.Table.from_pylist(rows, schema))
