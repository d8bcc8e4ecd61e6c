"""The options of a command that reads a table: what its rows are, and which column is which field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from store.topics import EventTopic

if TYPE_CHECKING:
    from store.tables.mapping import Columns

File = Annotated[
    Path, typer.Argument(help="The file; text may be gzip, and `-` reads standard input.", metavar="FILE|-")
]
As = Annotated[
    EventTopic,
    typer.Option("--as", help="What a row is: an item (uploads), an act (engagements), a person (profiles)."),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="FIELD=COLUMN, repeated: which column is which field, e.g. user_id=visitor. Without one, a column that is "
        "named like a field is it. features.NAME and attributes.NAME fill one entry.",
    ),
]
Constant = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE, repeated: the same in every row, e.g. kind=click.")
]
KindName = Annotated[
    list[str] | None,
    typer.Option("--kind", help="NAME=KIND, repeated: what the file calls a kind, e.g. addtocart=save."),
]
Split = Annotated[
    list[str] | None,
    typer.Option("--split", help="FIELD=SEPARATOR, repeated: lists in one cell, e.g. tags=| (otherwise JSON)."),
]
MappingFile = Annotated[
    Path | None,
    typer.Option(
        "--mapping",
        help="TOML file with the same, in tables columns, constants, kinds, split, and time (unit, zone). Options "
        "come on top of it.",
    ),
]
UnitOption = Annotated[
    Literal["auto", "s", "ms", "us", "ns"],
    typer.Option(
        "--unit", help="Of times in numbers; auto goes by their size (right for every time after April 1970)."
    ),
]
Zone = Annotated[
    str,
    typer.Option("--zone", help="IANA time zone of times that name none, e.g. Europe/Berlin; else they are refused."),
]


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


def mapping_of(
    topic: EventTopic,
    file: Path | None,
    column: Sequence[str] | None,
    constant: Sequence[str] | None,
    kind: Sequence[str] | None,
    split: Sequence[str] | None,
    unit: Literal["auto", "s", "ms", "us", "ns"],
    zone: str,
) -> Columns:
    """The mapping that the options say. Raises `MappingError`."""
    from store.tables.mapping import columns_of
    from store.tables.moments import Clock

    said = {
        "columns": pairs(column, "--column"),
        "constants": pairs(constant, "--set"),
        "kinds": pairs(kind, "--kind"),
        "split": pairs(split, "--split"),
    }
    return columns_of(topic, file, said, Clock(unit, zone))
