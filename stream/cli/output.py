"""Output: one document for programs, readable text for people; what goes wrong is one line on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import typer


def emit(document: Any, as_json: bool, text: str | None = None) -> None:
    """Prints the JSON document, or the text (which may be None: nothing)."""
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False))
    elif text is not None:
        typer.echo(text)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Prints a table that is as wide as its terminal, and unbroken when piped."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 200)
    drawn = Table(*headings, title=title, title_justify="left", header_style="bold")
    for row in rows:
        drawn.add_row(*("–" if cell is None else str(cell) for cell in row))
    console.print(drawn)


def fail(message: str, as_json: bool = False, code: int = 1) -> typer.Exit:
    """What to raise after telling, in one line, what went wrong and what to do."""
    if as_json:
        typer.echo(json.dumps({"error": message}, ensure_ascii=False))
    else:
        typer.echo(f"sidestream: {message}", err=True)
    return typer.Exit(code)


def moment(at: float | None) -> str:
    """A time in UTC, to the millisecond; a dash when there is none."""
    if at is None:
        return "–"
    whole = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at % 1 * 1000):03d} UTC"


def span(seconds: float | None) -> str:
    """A duration in the unit that suits it."""
    if seconds is None:
        return "–"
    if seconds < 1.0:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    for unit, size in (("min", 60.0), ("h", 3600.0), ("d", 86400.0)):
        if seconds < 100 * size or unit == "d":
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
