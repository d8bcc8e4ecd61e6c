"""`sidestream import`: tables of other systems onto the log, through the publisher."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from store.topics import EventTopic
from stream.cli.arguments.options import LOG, Options, command
from stream.cli.data.table_options import TableOptions
from stream.cli.publish_file import Tally, ends_of, progress_bar, publisher_of
from stream.cli.publishing import Spill

if TYPE_CHECKING:
    from store.tables.mapping import Columns
    from stream.client.publisher import Publisher
    from stream.client.tables.rows import Row

app = typer.Typer()

SETTLE_S = 5.0
"""So often what was sent is waited for, so that it can be said how far an import has come."""

Format = Annotated[
    Literal["csv", "parquet", "jsonl"], typer.Argument(help="What the file is.", metavar="csv|parquet|jsonl")
]
Skip = Annotated[
    int,
    typer.Option(min=0, help="Rows that are passed over at the beginning: an import that was cut off says how many."),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        help="A file that keeps how far the import has come: the same command with it goes on behind what is "
        "acknowledged, whatever ended it.",
    ),
]


@command(app, takes=LOG, name="import")
def import_(
    options: Options,
    form: Format,
    table: TableOptions,
    skip: Skip = 0,
    resume: Resume = None,
    spill: Spill = None,
) -> None:
    """Put a table of another system on the log, with its columns mapped: csv, parquet or jsonl.

    Every row is checked as `sidestream validate` does; bad ones are told by their number, and do not stop the others
    (status 1). An engagement without an event_id gets one made of user, item, kind and time, the same each time. Times:
    ISO 8601, or numbers in s, ms, us or ns. At the end, and when it is cut off, it says how many rows are acknowledged.

    csv: the first line names the columns; comma, semicolon, tab or bar; what is no field is left out.
    parquet: a batch of rows at a time, lists and maps as they are; needs the extra `parquet`.
    jsonl: fields that lie deeper are user.id; what is not mapped is kept. Lines that are events already go faster by
    `sidestream publish`.

    Example: sidestream import csv events.csv --as engagements --column user_id=visitorid --column item_id=itemid
    --column kind=event --column occurred_at=timestamp --kind view=impression --kind addtocart=save

    Example: sidestream import parquet items.parquet --as uploads --column item_id=sku --column uploaded_at=created
    --column features.visual=embedding --zone UTC --resume items.progress
    """
    import_file(options, table.file, form, table.columns(), skip, resume, spill)


class ImportEndedError(RuntimeError):
    """An import was cut off: the message says why, how far it came, and how to go on."""


@dataclass(slots=True)
class Progress:
    """How many rows of a file are acknowledged (or in the spill), kept in a file where one is named."""

    source: Path
    topic: EventTopic
    keep: Path | None
    rows: int = 0
    settled_at: float = field(default_factory=time.monotonic)

    def begin(self, skip: int) -> None:
        """Where to go on: behind what was acknowledged before. Raises `ValueError` for the progress of another file."""
        self.rows = skip
        if self.keep is None or not self.keep.exists():
            return
        from stream.client.line_files import RecordingError

        try:
            kept = json.loads(self.keep.read_text(encoding="utf-8"))
            same, rows = kept["source"] == self._identity(), int(kept["rows"])
        except (ValueError, LookupError, TypeError):
            raise RecordingError(
                f"{self.keep} holds no progress of an import: name another file, or remove it"
            ) from None
        if not same:
            raise RecordingError(f"{self.keep} is of another file than {self.source}: name another, or remove it")
        self.rows = max(skip, rows)

    def _identity(self) -> list[object]:
        if str(self.source) == "-":
            return ["-", self.topic]
        status = self.source.stat()
        return [str(self.source.resolve()), self.topic, status.st_size, status.st_mtime_ns]

    def told(self) -> str:
        """How far it has come, and how to go on."""
        again = "run the same command again" if self.keep is not None else f"go on with --skip {self.rows}"
        return f"{self.rows} rows are acknowledged: {again}"

    def is_due(self) -> bool:
        return time.monotonic() - self.settled_at > SETTLE_S

    def settle(self, rows: int) -> None:
        """All rows up to here are safe."""
        from store.files.replacing import replace_file

        self.rows, self.settled_at = rows, time.monotonic()
        if self.keep is not None:
            replace_file(self.keep, json.dumps({"source": self._identity(), "rows": rows}).encode())


def import_file(
    options: Options, file: Path, form: str, columns: Columns, skip: int, resume: Path | None, spill: Path | None
) -> None:
    """Publishes every row, tells the tally and how far it came, and exits 1 when a row was bad."""
    if str(file) != "-" and not file.is_file():
        raise FileNotFoundError(f"no file {file}: give one, or - for standard input")
    tally, progress = Tally(quiet=options.as_json), Progress(file, columns.topic, resume)
    progress.begin(skip)
    skipped, began = progress.rows, time.monotonic()
    try:
        with publisher_of(options, spill=spill) as publisher:
            _publish_rows(publisher, file, form, columns, progress, tally)
    except KeyboardInterrupt:
        typer.echo(progress.told(), err=True)
        raise
    except (OSError, RuntimeError) as error:  # of the brokers, the disk; what is wrong with the file says so itself
        raise ImportEndedError(f"{error}; {progress.told()}") from error
    took_s = max(time.monotonic() - began, 1e-9)
    ends, ended = ends_of(publisher, spill)
    report = {
        "topic": columns.topic,
        "format": form,
        "rows": progress.rows,
        "skipped": skipped,
        "published": tally.published,
        "acknowledged": publisher.acknowledged,
        **ends,
        "bad": tally.bad,
        "bad_lines": tally.bad_lines,
        "took_s": round(took_s, 3),
        "events_per_s": round(tally.published / took_s, 1),
    }
    told = f"{tally.published} {columns.topic} imported in {took_s:.1f} s, {publisher.acknowledged} acknowledged"
    skips = f", {skipped} rows passed over" if skipped else ""
    options.emit(report, told + skips + (f", {tally.bad} bad rows" if tally.bad else "") + (ended if spill else ""))
    if tally.bad:
        raise typer.Exit(1)


def _publish_rows(
    publisher: Publisher, file: Path, form: str, columns: Columns, progress: Progress, tally: Tally
) -> None:
    from stream.client.tables.rows import read_rows

    total = file.stat().st_size if str(file) != "-" else None
    first, count = progress.rows, 0
    with progress_bar(columns.topic, total, hidden=tally.quiet or not sys.stderr.isatty()) as advance:
        for count, row in enumerate(read_rows(file, form, columns.missing), 1):
            if count <= first:
                continue
            advance(row.position)
            _publish_row(publisher, row, columns, form == "jsonl", tally)
            if progress.is_due():
                publisher.flush()
                progress.settle(count)
        publisher.flush()
        progress.settle(max(first, count))


def _publish_row(publisher: Publisher, row: Row, columns: Columns, keep: bool, tally: Tally) -> None:
    from store.tables.moments import AmbiguousTimeError
    from store.topics import TIME_FIELDS
    from stream.client.admission import InvalidEventError

    if row.fault:
        tally.refuse(row.number, "not_an_event", "", row.fault)
        return
    try:
        event: Any = row.raw if row.fields is None else columns.event(row.fields, keep)
        publisher.publish(columns.topic, event)
        tally.published += 1
    except AmbiguousTimeError as error:
        tally.refuse(row.number, "wrong_type", TIME_FIELDS[columns.topic], str(error))
    except InvalidEventError as error:
        tally.refuse(row.number, error.reason, error.field, error.remedy)
