"""`sidestream export`: what the log holds, as a file for other systems."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stream.cli.arguments.options import LOG, Options, command

if TYPE_CHECKING:
    from store.settings import Settings
    from stream.cli.data.table_files import Columns

app = typer.Typer()

BATCH_ROWS = 5000

What = Annotated[
    Literal["interactions", "items", "users"],
    typer.Argument(help="What to export.", metavar="interactions|items|users"),
]
Out = Annotated[Path, typer.Argument(help="The file to write: .csv, .jsonl or .parquet.", metavar="FILE")]
Vectors = Annotated[bool, typer.Option("--vectors", help="Items with their learned vectors, where they have one.")]


@command(app, takes=LOG)
def export(options: Options, what: What, file: Out, vectors: Vectors = False) -> None:
    """Write what the log holds to a file: CSV, JSON lines, or Parquet (the extra `parquet`). No worker needs to run.

    interactions: the accepted engagements, with their fields, when the broker had them (published_at), and their place
    in the log (partition, offset). One that was published twice comes twice, with the same event_id.

    items: what is live, with title, times, semantic ID and counts of engagements by kind, as the workers have published
    them. Items that were taken down are left out.

    users: profile, counts, and the last ten acts of each.

    Of users who were forgotten, and from before that, there is nothing. Lists are JSON in CSV. The file takes its name
    when it is whole.

    Example: sidestream export interactions clicks.parquet --data-dir ./data

    Example: sidestream export items catalogue.parquet --vectors --bootstrap-servers kafka-1:9092
    """
    from stream.cli.data.table_files import table_file

    if vectors and what != "items":
        raise options.fail(f"{what} have no vectors: leave --vectors out, or export items")
    columns, found = _table(what, options.system().settings, vectors)
    rows = 0
    with table_file(file, columns) as write:
        while batch := list(islice(found, BATCH_ROWS)):
            write(batch)
            rows += len(batch)
    options.emit({"exported": what, "rows": rows, "file": str(file)}, f"{rows} {what} written to {file}")


def _table(what: str, settings: Settings, vectors: bool) -> tuple[Columns, Iterator[dict[str, Any]]]:
    from stream.cli.data import exported

    if what == "items":
        return {**exported.ITEMS, **(exported.VECTOR if vectors else {})}, exported.items(settings, vectors)
    if what == "users":
        return exported.USERS, exported.users(settings)
    return exported.INTERACTIONS, exported.interactions(settings)
