"""Output: one document for programs, readable text and tables for people; times in words.

Invariant: whatever is handed over is printed as text, never as markup, and no escape code of others reaches a terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from stream.terminal.text import json_line, plain, plain_lines, styled

PIPED_WIDTH = 4000
"""Columns of a table that no terminal limits: none of its cells is broken."""


def emit(document: Any, as_json: bool, text: str | None = None) -> None:
    """Prints the JSON document, or the text (which may be None: nothing)."""
    if as_json:
        typer.echo(json_line(document))
    elif text is not None:
        typer.echo(plain_lines(text))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Prints a table that is as wide as its terminal, and unbroken when piped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    drawn = Table(header_style="bold")
    for heading in headings:
        drawn.add_column(Text(heading))
    for row in rows:
        drawn.add_row(*(styled("–" if cell is None else str(cell)) for cell in row))
    if title is not None:
        console.print(styled((title, "italic")), soft_wrap=True)
    console.print(drawn)


def tell_failure(message: str, as_json: bool = False) -> None:
    """Tells in one line what went wrong and what to do."""
    if as_json:
        typer.echo(json_line({"error": message}))
    else:
        typer.echo(f"sidestream: {plain(message)}", err=True)


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
