"""`sidestream validate`: what would come of a file, before any of it is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from store.topics import ENGAGEMENTS, UPLOADS
from stream.cli.arguments.options import LOG, Options, command
from stream.cli.data.table_options import TableOptions
from stream.terminal.output import moment, span
from stream.terminal.text import plain

if TYPE_CHECKING:
    import numpy as np

    from store.settings import Settings
    from stream.client.tables.findings import Findings

app = typer.Typer()

Format = Annotated[Literal["auto", "csv", "jsonl", "parquet"], typer.Option(help="auto: by what the file begins with.")]
Items = Annotated[
    Path | None,
    typer.Option("--items", help="The file of uploads that goes with these engagements: items beyond it are told."),
]
ItemColumn = Annotated[str, typer.Option("--item-column", help="The column of the item's id in the file of --items.")]
OnLog = Annotated[
    bool, typer.Option("--on-log", help="Items that are on the log of the running system count as uploaded, too.")
]


@command(app, takes=LOG)
def validate(
    options: Options,
    table: TableOptions,
    form: Format = "auto",
    items: Items = None,
    item_column: ItemColumn = "item_id",
    on_log: OnLog = False,
) -> None:
    """Say what would come of a file: what would be refused and why, what is odd. Nothing is sent; no broker is asked
    (but with --on-log).

    Rows are judged by the very functions that `import` and the workers use, with the limits of your settings. Status 1
    if any would be refused. Told besides: optional values that would be dropped, ids that come twice, times ahead of
    now (they would be set to now) or before 2000, and with --items or --on-log engagements with items that nobody
    uploads: these are absorbed, and never recommended.

    Example: sidestream validate clicks.csv --as engagements --column user_id=visitor --column occurred_at=ts
    --set kind=click --items catalogue.parquet --item-column sku
    """
    from stream.client.tables.findings import Findings

    settings = options.system().settings if on_log else options.settings()
    columns, topic = table.columns(), table.topic
    found = Findings(topic, settings.event_limits())
    _judge_all(found, table.file, form, columns)
    uploaded = _uploaded(settings, items, item_column, on_log) if topic == ENGAGEMENTS else None
    document = _document(found, uploaded)
    options.emit(document, "\n".join(_lines(document, found)))
    if found.refused:
        raise typer.Exit(1)


def _judge_all(found: Findings, file: Path, form: str, columns: Any) -> None:
    from store.tables.moments import AmbiguousTimeError
    from stream.client.tables.findings import Refused
    from stream.client.tables.rows import format_of, read_rows

    if str(file) != "-" and not file.is_file():
        raise FileNotFoundError(f"no file {file}: give one, or - for standard input")
    form = format_of(file) if form == "auto" else form
    for row in read_rows(file, form, columns.missing):
        if row.fault:
            found.refuse(Refused(row.number, "not_an_event", "", row.fault))
        elif row.fields is None:
            found.judge(row.number, row.raw)
        else:
            try:
                event = columns.event(row.fields, keep=form == "jsonl")
            except AmbiguousTimeError as error:
                found.refuse(Refused(row.number, "wrong_type", _time_of(columns), str(error)))
            else:
                found.judge(row.number, event)


def _time_of(columns: Any) -> str:
    from store.topics import TIME_FIELDS

    return TIME_FIELDS[columns.topic]


def _uploaded(settings: Settings, items: Path | None, column: str, on_log: bool) -> np.ndarray | None:
    """Hashes of the items that are uploaded; None where nobody said where to look."""
    import numpy as np

    from store.keys import hash64

    if items is None and not on_log:
        return None
    found = {hash64(each) for each in _ids_in(items, column)} if items is not None else set()
    if on_log:
        from store.envelopes.newest_events import uploaded_ids
        from store.envelopes.reading import event_reader
        from store.log import Log

        with Log(settings.kafka) as log:
            records = log.read_all(settings.topic(UPLOADS))
            found |= set(map(hash64, uploaded_ids(records, now=time.time(), reader=event_reader(settings))))
    return np.array(sorted(found), np.uint64)


def _ids_in(file: Path, column: str) -> Iterator[str]:
    from store.tables.mapping import text_of
    from stream.client.tables.rows import format_of, read_rows

    def lacking(heading: list[str]) -> str:
        return "" if column in heading else f"no column {column}: name it with --item-column; there are {heading}"

    for row in read_rows(file, format_of(file), lacking):
        item_id = text_of((row.fields or {}).get(column))
        if isinstance(item_id, str):
            yield item_id


def _document(found: Findings, uploaded: np.ndarray | None) -> dict[str, Any]:
    repeated, rows = found.repeated()
    document: dict[str, Any] = {
        "topic": found.topic,
        "events": found.accepted + found.refused,
        "accepted": found.accepted,
        "refused": found.refused,
        "by_reason": dict(found.reasons.most_common()),
        "refusals": [
            {"row": each.row, "reason": each.reason, "field": each.field, "remedy": each.remedy}
            for each in found.refusals
        ],
        "dropped_values": dict(found.dropped.most_common()),
        "kinds": dict(found.kinds.most_common()),
        "repeated_ids": {"events": repeated, "rows": rows},
        "times": {
            "earliest": found.earliest,
            "latest": found.latest,
            "ahead": found.ahead,
            "most_ahead_s": round(found.most_ahead_s, 3),
            "before_2000": found.early,
        },
        "never_uploaded": None,
    }
    if uploaded is not None:
        events, items, rows = found.never_uploaded(uploaded)
        document["never_uploaded"] = {"events": events, "items": items, "rows": rows}
    return document


def _lines(document: dict[str, Any], found: Findings) -> Iterator[str]:
    yield f"{document['events']} {found.topic}: {found.accepted} would be taken, {found.refused} refused"
    for each in found.refusals[:20]:
        named = f"{each.field}: " if each.field else ""
        yield f"  row {each.row}: {plain(named)}{each.reason}: {plain(each.remedy)}"
    if found.refused > 20:
        yield f"  in all {', '.join(f'{name} {count}' for name, count in found.reasons.most_common())}"
    if found.dropped:
        wrong = ", ".join(f"{name} {count}" for name, count in found.dropped.most_common())
        yield f"optional values of a wrong type, which would be left out: {wrong}"
    if found.kinds:
        yield f"kinds: {', '.join(f'{name} {count}' for name, count in found.kinds.most_common())}"
    repeated = document["repeated_ids"]
    if repeated["events"]:
        yield f"{repeated['events']} bear an id that came before, e.g. rows {_some(repeated['rows'])}"
    if found.accepted:
        yield f"times from {moment(found.earliest)} to {moment(found.latest)}"
    if found.ahead:
        yield f"{found.ahead} are ahead of now, by {span(found.most_ahead_s)} at most: they would be set to now"
    if found.early:
        yield f"{found.early} are from before 2000: is the unit right (--unit)?"
    unknown = document["never_uploaded"]
    if unknown and unknown["events"]:
        yield (
            f"{unknown['events']} are with {unknown['items']} items that nobody uploads, e.g. rows "
            f"{_some(unknown['rows'])}: such items are never recommended"
        )
    elif unknown is None and found.topic == ENGAGEMENTS:
        yield "whether their items are uploaded was not looked at: --items FILE, or --on-log"


def _some(rows: list[int]) -> str:
    return ", ".join(map(str, rows))
