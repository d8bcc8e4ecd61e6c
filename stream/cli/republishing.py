"""`sidestream republish`: have the owners publish their rows again, after a state topic lost what it held."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.arguments.options import LOG, Options, command

if TYPE_CHECKING:
    from stream.client.republication import Progress

app = typer.Typer()


@command(app, takes=LOG)
def republish(
    options: Options,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for all partitions.")] = 3600.0,
) -> None:
    """Have the running workers publish every row again: a state topic lost records, and their disks have them.

    A state topic that was deleted and created again (`sidestream topics create`) is noticed by the workers themselves,
    when they start. Run this when records went another way: by a retention or `kafka-delete-records`, or a restored
    copy. First set cleanup.policy=compact on it. Workers go on meanwhile, at the usual pace of publication; let none
    start with an empty disk before it has ended, for it would find only what is there.

    Example: sidestream republish --bootstrap-servers kafka:9092
    """
    from stream.client.republication import OwnersSilentError, Republishing

    asked = Republishing(options.system().settings)
    progress: Progress | None = None
    told = 0
    try:
        for progress in asked.follow(timeout):
            told = _tell(progress, told, options.as_json)
    except OwnersSilentError as error:
        if progress is not None and progress.ended and options.as_json:
            options.emit({**_document(progress), "request": asked.request.request, "error": str(error)})
            raise typer.Exit(1) from None
        raise
    assert progress is not None
    rows = sum(each.rows for each in progress.ended)
    text = f"published all {rows:,} rows of {progress.partitions} partitions again"
    options.emit({**_document(progress), "request": asked.request.request}, text)


def _document(progress: Progress) -> dict[str, object]:
    return {
        "complete": progress.complete,
        "rows": sum(each.rows for each in progress.ended),
        "partitions": [asdict(each) for each in progress.ended],
    }


def _tell(progress: Progress, told: int, as_json: bool) -> int:
    """Tells of the partitions that have ended since, and how many records have come; returns how many are told."""
    if not as_json:
        for each in progress.ended[told:]:
            typer.echo(f"{each.took_s:8.1f} s  {each.topic}-{each.partition}  {each.rows:,} rows")
        if not progress.complete:
            far = f"{len(progress.ended)} of {progress.partitions} partitions, {progress.records:,} rows"
            typer.echo(far, err=True)
    return len(progress.ended)
