"""Change events: rows of databases as Debezium sends them (`before`, `after`, `op`), and plain rows of Kafka Connect.

Both with their schema (`{"schema": …, "payload": …}`) or without it. A row becomes an event by its columns
(`store.tables.mapping`); two more are made of what is said of the row: `__table`, the table that it lies in, and
`__ts_ms`, when it changed. https://debezium.io/documentation/reference/stable/connectors/postgresql.html

Invariant: a deleted row is never taken for an event, and nothing that is not said to be a row for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.envelopes.opened import Opened
from store.events import DAY_S
from store.keys import id_fault
from store.tables.mapping import Columns, text_of
from store.tables.moments import AmbiguousTimeError, Clock
from store.topics import ENGAGEMENTS, KEY_FIELDS, TIME_FIELDS

KEPT, DELETED = ("c", "r", "u"), "d"
"""Operations after which there is a row (created, read by a snapshot, updated), and the one after which none is."""
TABLE, CHANGED = "__table", "__ts_ms"
"""Columns that are made of what is said of a row."""
UNITS: Mapping[str, str] = {
    "io.debezium.time.Timestamp": "ms",
    "io.debezium.time.MicroTimestamp": "us",
    "io.debezium.time.NanoTimestamp": "ns",
    "org.apache.kafka.connect.data.Timestamp": "ms",
}
"""What a schema calls the type of a column → the unit of its numbers."""
DAYS = ("io.debezium.time.Date", "org.apache.kafka.connect.data.Date")
MOST_DAYS = 1_000_000
"""A number below is no time after January 1970 in any unit but days: what it means only a schema can say."""


def open_change(fields: Mapping[str, Any], columns: Columns) -> Opened | None:
    """What a change event or a row of Connect holds; None where the fields are those of neither."""
    payload, schema = fields.get("payload"), fields.get("schema")
    if not isinstance(payload, dict):
        return _change(fields, None, columns, "") if _is_change(fields) else None
    if _is_change(payload):
        return _change(payload, schema, columns, "payload.")
    if not isinstance(schema, dict):
        return None
    place = "payload of a Connect record"
    is_deleted = str(payload.get("__deleted")).lower() == "true"  # so says ExtractNewRecordState where it rewrites
    return _deletion(payload, columns, place) if is_deleted else _row(place, payload, schema, columns)


def removed_by_key(key: object, columns: Columns) -> Any:
    """The id in the key of a row, which is an object of the columns of its primary key; None where it has none."""
    if not isinstance(key, dict):
        return None
    payload = key.get("payload")
    row = payload if isinstance(payload, dict) else key
    return text_of(row.get(columns.columns.get(KEY_FIELDS[columns.topic], KEY_FIELDS[columns.topic])))


def _is_change(payload: Mapping[str, Any]) -> bool:
    rows = not {"before", "after"}.isdisjoint(payload) or isinstance(payload.get("source"), dict)
    return rows and isinstance(payload.get("op"), str)


def _change(payload: Mapping[str, Any], schema: Any, columns: Columns, above: str) -> Opened:
    op = payload["op"]
    if op == DELETED:
        return _deletion(payload.get("before"), columns, f"{above}before of a Debezium envelope")
    place = f"{above}after of a Debezium envelope"
    row = payload.get("after")
    if op not in KEPT:
        return Opened(place=place, fault=("not_an_event", f"op {op[:20]!r} is no change of a row"))
    if not isinstance(row, dict):
        return Opened(place=place, fault=("missing_field", f"op {op} has no row there: send whole rows"))
    source = payload.get("source")
    source = source if isinstance(source, dict) else {}
    said = {TABLE: source.get("table"), CHANGED: source.get("ts_ms") or payload.get("ts_ms")}
    return _row(place, {**said, **row}, _below(schema, "after"), columns)


def _row(place: str, row: Mapping[str, Any], schema: Any, columns: Columns) -> Opened:
    time_name = TIME_FIELDS[columns.topic]
    column = columns.columns.get(time_name, time_name)
    try:
        value = row.get(column)
        if value is not None:
            row = {**row, column: _moment(value, _type_of(schema, column), columns)}
        return Opened(place=place, fields=columns.event(row))
    except AmbiguousTimeError as error:
        return Opened(place=place, fault=("wrong_type", f"column {column}: {error}"))


def _moment(value: Any, kind: str, columns: Columns) -> float:
    """Epoch seconds. Raises `AmbiguousTimeError`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in DAYS and number:
        return float(value * DAY_S)
    clock = Clock(UNITS[kind], columns.clock.zone) if kind in UNITS else columns.clock  # type: ignore[arg-type]
    if number and kind not in UNITS and abs(value) < MOST_DAYS:
        raise AmbiguousTimeError(f"{value} may be days: send a timestamp, or the schema with it")
    return clock.moment(value)


def _deletion(row: object, columns: Columns, place: str) -> Opened:
    name = KEY_FIELDS[columns.topic]
    if columns.topic == ENGAGEMENTS:
        remedy = "what has happened is not undone: forget its user, or send a dislike"
        return Opened(place=place, fault=("not_an_event", f"the row of an engagement was deleted, but {remedy}"))
    found = removed_by_key(row, columns)
    if not isinstance(found, str) or not 0 < len(found) <= 256:
        column = columns.columns.get(name, name)
        remedy = "make it the key of the table, or send whole rows (REPLICA IDENTITY FULL)"
        return Opened(place=place, fault=("missing_field", f"a deleted row without {column}: {remedy}"))
    if fault := id_fault(name, found):
        return Opened(place=place, fault=fault)
    return Opened(place=place, removed=found)


def _type_of(schema: Any, column: str) -> str:
    """What a schema calls the type of a column; empty where it does not say."""
    if column == CHANGED:
        return "io.debezium.time.Timestamp"
    found = _below(schema, column)
    return str(found.get("name", "")) if isinstance(found, dict) else ""


def _below(schema: Any, name: str) -> Any:
    """The schema of one field of a struct."""
    fields = schema.get("fields") if isinstance(schema, dict) else None
    known = fields if isinstance(fields, list) else []
    return next((each for each in known if isinstance(each, dict) and each.get("field") == name), None)
