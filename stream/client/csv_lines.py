"""Tables in CSV as lines of JSON, where the first line names every required field: then there is no doubt.

Cells of number fields become numbers, of time fields also ISO 8601 with a zone; of lists and objects they are JSON; an
empty cell is an absent field; other columns are kept as text. Separators: comma, semicolon or tab, whichever shows the
required fields.

Invariant: a row that does not fit is named by its number and does not stop the others.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, get_origin

import msgspec

from store.events import Engagement, Profile, Upload
from store.tables.moments import AmbiguousTimeError
from store.topics import TIME_FIELDS
from stream.client.line_files import Convert, Line, RecordingError
from stream.client.times import epoch_of

_EVENTS: Mapping[str, type[msgspec.Struct]] = {"uploads": Upload, "engagements": Engagement, "profiles": Profile}
_SEPARATORS = (",", ";", "\t")
_HEADING = re.compile(r"[\w .\-]{1,64}")


def table_of(topic: str) -> Callable[[bytes, str], Convert | None]:
    """What `read_lines` asks of a first line: whether it is the heading of a table of this topic's events.

    Raises `RecordingError` for a table that lacks required fields.
    """

    def recognised(first: bytes, name: str) -> Convert | None:
        if first[:1] in (b"{", b"["):
            return None
        try:
            text = first.decode()
        except UnicodeDecodeError:
            return None
        fields = {each.name: each for each in msgspec.structs.fields(_EVENTS[topic])}
        required = [each.name for each in fields.values() if each.required]
        for separator in _SEPARATORS:
            heading = cells(text, separator)
            if set(required) <= set(heading):
                return Table(heading, separator, fields)
        heading = max((cells(text, separator) for separator in _SEPARATORS), key=len)
        if len(heading) > 1 and all(map(_HEADING.fullmatch, heading)):
            missing = ", ".join(each for each in required if each not in heading)
            raise RecordingError(
                f"{name} looks like CSV, and its first line does not name {missing}: name the columns of {topic} "
                f"({', '.join(required)}, …) there, or give one JSON object a line"
            )
        return None

    return recognised


class Table:
    """The rows behind a heading."""

    def __init__(self, heading: Sequence[str], separator: str, fields: Mapping[str, Any]) -> None:
        self._heading = heading
        self._separator = separator
        self._fields = fields

    def __call__(self, numbered: Iterator[tuple[int, bytes]], name: str) -> Iterator[Line]:
        number = 1

        def texts() -> Iterator[str]:
            nonlocal number
            for number, line in numbered:  # the row's last line, when a cell has line ends
                try:
                    yield line.decode()
                except UnicodeDecodeError:
                    raise RecordingError(
                        f"{name} line {number} is not UTF-8: convert it first, e.g. iconv -f WINDOWS-1252 -t UTF-8"
                    ) from None

        try:
            for row in csv.reader(texts(), delimiter=self._separator):
                if any(row):
                    yield self._line(number, row)
        except csv.Error as error:
            raise RecordingError(f"{name} line {number}: {error}") from None

    def _line(self, number: int, row: Sequence[str]) -> Line:
        if len(row) != len(self._heading):
            return Line(number, b"", 0, f"{len(row)} cells, and the first line has {len(self._heading)}", table=True)
        event: dict[str, object] = {}
        for field, cell in zip(self._heading, row, strict=True):
            if not cell:
                continue
            try:
                event[field] = self._value(field, cell)
            except ValueError as error:
                return Line(number, b"", 0, f"{field}: {error}", table=True)
        try:
            return Line(number, json.dumps(event, ensure_ascii=False).encode(), 0, table=True)
        except UnicodeEncodeError as error:
            return Line(number, b"", 0, f"half a character, which is no text: {error.reason}", table=True)

    def _value(self, field: str, cell: str) -> object:
        kind = getattr(self._fields.get(field), "type", str)
        if kind in (float, float | None):
            return _number(field, cell)
        if get_origin(kind) in (list, dict):
            return _json(cell)
        return cell


def _json(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        raise ValueError(f'{cell[:40]!r} is no JSON: write a list or an object, such as ["a", "b"]') from None


def _number(field: str, cell: str) -> float:
    with suppress(ValueError):
        value = float(cell)
        if math.isfinite(value):
            return value
    if field not in TIME_FIELDS.values():
        raise ValueError(f"{cell[:40]!r} is no number")
    try:
        return epoch_of(cell)
    except AmbiguousTimeError as error:
        raise ValueError(str(error)) from None


def cells(text: str, separator: str) -> list[str]:
    """The cells of a heading; none if it can be none."""
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator), [])]
    except csv.Error:
        return []
