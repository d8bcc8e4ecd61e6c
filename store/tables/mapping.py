"""Mapping: which column of a table is which field of an event, and how its cells become that field's values.

Invariant: what a mapping cannot make of a cell stays as it was, so that the check of the event refuses it by name; only
a time that could be several is refused here.
"""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, get_origin
from zoneinfo import ZoneInfo

import msgspec

from store.events import Engagement, Profile, Upload
from store.tables.moments import PER_S, Clock
from store.topics import ENGAGEMENTS, PROFILES, TIME_FIELDS, UPLOADS, EventTopic

EVENTS: Mapping[str, type[msgspec.Struct]] = {UPLOADS: Upload, ENGAGEMENTS: Engagement, PROFILES: Profile}
SURE = Clock()
_SAME = ("user_id", "item_id", "kind", "occurred_at")
"""What an engagement without an id is known by: two rows that agree in these are one event."""


class MappingError(ValueError):
    """The mapping does not fit the events, or the file: the message names the field or column to correct."""


class _Tables(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A mapping file in TOML."""

    columns: dict[str, str] = {}
    constants: dict[str, str | float] = {}
    kinds: dict[str, str] = {}
    split: dict[str, str] = {}
    time: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """`columns`: field → column (`features.visual`, `attributes.age` name one entry of a map); a field that is not
    named is taken from the column of its name. `constants`: field → its value in every row. `kinds`: what the file
    calls a kind → the kind. `split`: field of a list → what separates its entries in one cell."""

    topic: EventTopic
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | float] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = SURE

    def __post_init__(self) -> None:
        kinds = field_kinds(self.topic)
        for name in (*self.columns, *self.constants, *self.split):
            whole, _, entry = name.partition(".")
            if whole not in kinds or (entry and get_origin(kinds[whole]) is not dict):
                raise MappingError(f"{self.topic} have no field {name}: {_near(name, kinds)}")
        if self.clock.zone:
            _check_zone(self.clock.zone)

    def event(self, row: Mapping[str, Any], keep: bool = False) -> dict[str, Any]:
        """The fields of the event in a row; `keep`: with the columns that are no fields.
        Raises `AmbiguousTimeError`."""
        found: dict[str, Any] = {}
        for name in self._targets():
            value = self._cell(row, name)
            if value is not None:
                _put(found, name, self._converted(name, value))
        if self.topic == ENGAGEMENTS and "event_id" not in found:
            _name_event(found)
        used = {self.columns.get(name, name) for name in field_kinds(self.topic)} | set(self.columns.values())
        return {**{name: row[name] for name in row if name not in used}, **found} if keep else found

    def missing(self, heading: Iterable[str]) -> str:
        """What the columns of a file lack, in words; empty when the required fields are there."""
        there = set(heading)
        for name, column in self.columns.items():
            if column not in there and column.partition(".")[0] not in there:
                return f"there is no column {column} (for {name}): {_near(column, there)}"
        required = [each.name for each in msgspec.structs.fields(EVENTS[self.topic]) if each.required]
        given = there | set(self.columns) | set(self.constants) | {"event_id"}
        lacking = [name for name in required if name not in given]
        if not lacking:
            return ""
        named = " ".join(f"--column {name}=COLUMN" for name in lacking)
        return f"no column is {', '.join(lacking)}: say which, {named}; there are {', '.join(sorted(there))[:300]}"

    def _targets(self) -> list[str]:
        return [*field_kinds(self.topic), *(name for name in self.columns if "." in name)]

    def _cell(self, row: Mapping[str, Any], name: str) -> Any:
        column = self.columns.get(name, name if "." not in name else "")
        value = row.get(column)
        if value is None and "." in column:
            value = _below(row, column)
        if value is None or (isinstance(value, float) and math.isnan(value)):  # as pandas writes "nothing"
            return self.constants.get(name)
        return value

    def _converted(self, name: str, value: Any) -> Any:
        kind = field_kinds(self.topic).get(name)
        if name == TIME_FIELDS[self.topic]:
            return self.clock.moment(value)
        if name == "kind":
            return self.kinds.get(str(value), value)
        if kind == "text":
            return text_of(value)
        if kind == "number":
            return _number(value)
        several = isinstance(value, str) and (kind is not None or value.startswith("["))
        return _several(value, self.split.get(name)) if several else value


@cache
def field_kinds(topic: str) -> dict[str, Any]:
    """Field → `text`, `number`, or the type of a list or map."""
    return {each.name: _kind(each.type) for each in msgspec.structs.fields(EVENTS[topic])}


def _kind(kind: Any) -> Any:
    if get_origin(kind) in (list, dict):
        return kind
    return "number" if kind in (float, float | None) else "text"


def columns_of(topic: EventTopic, file: Path | None, said: Mapping[str, Mapping[str, str]], clock: Clock) -> Columns:
    """The mapping in a TOML file, if one is named, with what was said on top: table → its keys. Raises
    `MappingError`."""
    tables = _read(file) if file is not None else _Tables()
    merged = {
        name: {**getattr(tables, name), **said.get(name, {})} for name in ("columns", "constants", "kinds", "split")
    }
    unit = clock.unit if clock.unit != "auto" else tables.time.get("unit", "auto")
    if unit not in ("auto", *PER_S) or set(tables.time) - {"unit", "zone"}:
        raise MappingError(f"{file}: [time] has unit (auto, {', '.join(PER_S)}) and zone, and says {tables.time}")
    return Columns(topic=topic, clock=Clock(unit, clock.zone or tables.time.get("zone", "")), **merged)  # type: ignore[arg-type]


def _read(file: Path) -> _Tables:
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8-sig")), _Tables)
    except FileNotFoundError:
        raise MappingError(f"no mapping {file}: give a TOML file with [columns], or --column FIELD=COLUMN") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise MappingError(f"{file}: {error}") from None


def text_of(value: Any) -> Any:
    """A text where the cell means one: an id of digits is a number in many exports, with a point in some."""
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            return value.decode()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) else value


def _number(value: Any) -> Any:
    if isinstance(value, str | Decimal):
        with suppress(ValueError):
            return float(value)
    return value


def _several(cell: str, separator: str | None) -> Any:
    if separator is not None:
        return [part.strip() for part in cell.split(separator) if part.strip()]
    with suppress(ValueError, RecursionError):
        return json.loads(cell)
    return cell


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    whole, _, entry = name.partition(".")
    if not entry:
        found[whole] = value
    elif isinstance(below := found.setdefault(whole, {}), dict):
        below[entry] = value


def _below(row: Mapping[str, Any], path: str) -> Any:
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _name_event(found: dict[str, Any]) -> None:
    """An id that the same row gets again: a file that is imported twice counts once, as far as ids are remembered."""
    if all(name in found for name in _SAME):
        said = json.dumps([found[name] for name in _SAME], default=str)
        found["event_id"] = blake2b(said.encode(errors="backslashreplace"), digest_size=12).hexdigest()


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise MappingError(f"there is no time zone {zone!r}: give an IANA name such as Europe/Berlin, or UTC") from None


def _near(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)[:300]}"
