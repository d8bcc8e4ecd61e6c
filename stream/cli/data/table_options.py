"""The options of a command that reads a table: what its rows are, and which column is which field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from store.topics import EventTopic

if TYPE_CHECKING:
    from store.tables.mapping import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What a person said of a table; a command that takes it has all of these."""

    file: Annotated[
        Path, typer.Argument(help="The file; text may be gzip, and `-` reads standard input.", metavar="FILE|-")
    ]
    topic: Annotated[
        EventTopic,
        typer.Option("--as", help="What a row is: an item (uploads), an act (engagements), a person (profiles)."),
    ]
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="FIELD=COLUMN, repeated: which column is which field, e.g. user_id=visitor. Without one, a column "
            "that is named like a field is it. features.NAME and attributes.NAME fill one entry.",
        ),
    ] = None
    constant: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE, repeated: the same in every row, e.g. kind=click.")
    ] = None
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="NAME=KIND, repeated: what the file calls a kind, e.g. addtocart=save."),
    ] = None
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="FIELD=SEPARATOR, repeated: lists in one cell, e.g. tags=| (otherwise JSON)."),
    ] = None
    mapping: Annotated[
        Path | None,
        typer.Option(
            "--mapping",
            help="TOML file with the same, in tables columns, constants, kinds, split, and time (unit, zone). Options "
            "come on top of it.",
        ),
    ] = None
    unit: Annotated[
        Literal["auto", "s", "ms", "us", "ns"],
        typer.Option(
            "--unit", help="Of times in numbers; auto goes by their size (right for every time after April 1970)."
        ),
    ] = "auto"
    zone: Annotated[
        str,
        typer.Option(
            "--zone", help="IANA time zone of times that name none, e.g. Europe/Berlin; else they are refused."
        ),
    ] = ""

    def columns(self) -> Columns:
        """The mapping that the options say. Raises `MappingError`."""
        from store.tables.mapping import columns_of
        from store.tables.moments import Clock

        said = {
            "columns": pairs(self.column, "--column"),
            "constants": pairs(self.constant, "--set"),
            "kinds": pairs(self.kind, "--kind"),
            "split": pairs(self.split, "--split"),
        }
        return columns_of(self.topic, self.mapping, said, Clock(self.unit, self.zone))


def pairs(said: Sequence[str] | None, option: str) -> dict[str, str]:
    """`NAME=VALUE` as a mapping. Raises `MappingError`."""
    from store.tables.mapping import MappingError

    found: dict[str, str] = {}
    for each in said or ():
        name, separator, value = each.partition("=")
        if not separator or not name:
            raise MappingError(f"{option} {each}: write NAME=VALUE")
        found[name] = value
    return found
