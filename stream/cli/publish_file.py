"""A file of events onto a topic: line by line, in its own time or as fast as it goes, with a tally at the end.

Invariant: a bad line is reported by its number and does not stop the others; every line is published or counted as bad.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from store.records.foreign import UNREADABLE
from store.topics import KEY_FIELDS, TIME_FIELDS
from stream.cli.arguments.options import Options
from stream.terminal.text import plain

if TYPE_CHECKING:
    from store.topics import KEY_FIELDS, TIME_FIELDS, EventTopic
    from stream.client.admission import InvalidEventError
    from stream.client.line_files import Line
    from stream.client.publisher import Publisher

_REPORTED = 100


class _Frame(msgspec.Struct):
    events: list[msgspec.Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How lines go onto the log: `speed` times their own time (None: at once), unchecked, one event a record; `spill`:
    the folder for what no broker takes in its time."""

    speed: float | None = None
    raw: bool = False
    unframed: bool = False
    spill: Path | None = None


@dataclass(slots=True)
class Tally:
    """What came of a file so far."""

    published: int = 0
    bad: int = 0
    bad_lines: list[dict[str, Any]] = field(default_factory=list)
    table: bool = False
    quiet: bool = False

    def refuse(self, number: int, reason: str, named: str, remedy: str) -> None:
        """Counts a bad line, and tells the first ones."""
        self.bad += 1
        if self.bad > _REPORTED:
            return
        self.bad_lines.append({"line": number, "reason": reason, "field": named, "remedy": remedy})
        if not self.quiet:
            more = " (further bad lines are only counted)" if self.bad == _REPORTED else ""
            typer.echo(
                f"line {number}: {plain(f'{named}: ' if named else '')}{reason}: {plain(remedy)}{more}", err=True
            )


@contextmanager
def publisher_of(options: Options, unframed: bool = False, spill: Path | None = None) -> Iterator[Publisher]:
    """A publisher to the system's log; at the end everything is acknowledged, or lies in the spill."""
    from stream.client.publisher import Publisher
    from stream.kafka.deliveries import Framing

    framing = None if unframed else Framing()
    with Publisher(settings=options.system().settings, framing=framing, spill=spill) as publisher:
        yield publisher


def ends_of(publisher: Publisher, spill: Path | None) -> tuple[dict[str, int], str]:
    """How what was published has ended, for --json and in words; nothing where there is no spill."""
    if spill is None:
        return {}, ""
    ends = {"acknowledged": publisher.acknowledged, "spilled": publisher.spilled, "failed": publisher.failed}
    text = f", {publisher.acknowledged} acknowledged, {publisher.spilled} spilled"
    if publisher.waiting:
        text += f"; {publisher.waiting} wait in {spill}: `sidestream publish spilled {spill}` sends them"
    return {**ends, "waiting": publisher.waiting}, text


def publish_file(options: Options, topic: EventTopic, file: Path, manner: Manner) -> None:
    """Publishes every event of the file (`-`: standard input), tells the tally, and exits 1 when a line was bad."""
    if str(file) != "-" and not file.is_file():
        raise FileNotFoundError(f"no file {file}: give a file of JSON lines, or - for standard input")
    tally = Tally(quiet=options.as_json)
    began = time.monotonic()
    with publisher_of(options, manner.unframed, manner.spill) as publisher:
        for line in _shown(file, topic, manner, quiet=options.as_json):
            tally.table |= line.table
            if manner.raw and not line.fault:
                publisher.send(topic, _likely_key(topic, line.value, line.number), line.value)
                tally.published += 1
            else:
                _publish_line(publisher, topic, line, tally)
    took_s = time.monotonic() - began
    ends, ended = ends_of(publisher, manner.spill)
    report = {
        "topic": topic,
        "format": "csv" if tally.table else "jsonl",
        "published": tally.published,
        **ends,
        "bad": tally.bad,
        "bad_lines": tally.bad_lines,
        "took_s": round(took_s, 3),
        "events_per_s": round(tally.published / max(took_s, 1e-9), 1),
    }
    text = f"{tally.published} {topic} published in {took_s:.1f} s ({report['events_per_s']:,.0f}/s)"
    read_as = ", read as CSV" if tally.table else ""
    options.emit(report, text + read_as + (f", {tally.bad} bad lines" if tally.bad else "") + ended)
    if tally.bad:
        raise typer.Exit(1)


def send_spilled(options: Options, folder: Path, timeout_s: float) -> None:
    """Sends what lies in the spill, tells how much, and exits 1 when some is left at the end of the time."""
    from stream.client.spilling.spill import FILE

    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"no spill in {folder}: give the folder that was given as --spill")
    end = time.monotonic() + timeout_s
    with publisher_of(options, spill=folder) as publisher:
        before = publisher.waiting
        while publisher.waiting and (left_s := end - time.monotonic()) > 0:
            publisher.flush(left_s)
            time.sleep(min(0.1, left_s))
    sent, left = before - publisher.waiting, publisher.waiting
    waiting = f", {left} wait in {folder}: try again" if left else ""
    options.emit({"sent": sent, "waiting": left}, f"{sent} sent{waiting}")
    if left:
        raise typer.Exit(1)


def _publish_line(publisher: Publisher, topic: EventTopic, line: Line, tally: Tally) -> None:
    from stream.client.admission import InvalidEventError

    if line.fault:
        tally.refuse(line.number, "not_an_event", "", line.fault)
        return
    for event in _events(line.value):
        try:
            publisher.publish(topic, event)
            tally.published += 1
        except InvalidEventError as error:
            _publish_mended(publisher, topic, line.number, event, error, tally)


def _publish_mended(
    publisher: Publisher, topic: EventTopic, number: int, event: bytes, error: InvalidEventError, tally: Tally
) -> None:
    """Once more with its time in epoch seconds, when ISO 8601 with a zone is all that was wrong."""
    from store.tables.moments import AmbiguousTimeError
    from stream.client.admission import InvalidEventError

    remedy = error.remedy
    if error.reason == "wrong_type" and error.field == TIME_FIELDS[topic]:
        try:
            publisher.publish(topic, _with_epoch(event, TIME_FIELDS[topic]))
            tally.published += 1
            return
        except AmbiguousTimeError as ambiguous:
            remedy = str(ambiguous)
        except InvalidEventError as still:
            error, remedy = still, still.remedy
        except (ValueError, RecursionError):  # its time is not all that is wrong: it is no JSON behind that
            pass
    tally.refuse(number, error.reason, error.field, remedy)


def _with_epoch(event: bytes, field: str) -> bytes:
    from store.tables.moments import AmbiguousTimeError
    from stream.client.times import epoch_of

    fields = json.loads(event)
    if not isinstance(fields[field], str):
        raise AmbiguousTimeError(f"{fields[field]!r:.40} is no time: write UTC epoch seconds")
    return json.dumps({**fields, field: epoch_of(fields[field])}, ensure_ascii=False).encode()


def _events(line: bytes) -> list[bytes]:
    """The events of a line, which may itself be a frame."""
    if line.startswith(b'{"events"'):
        try:
            return [bytes(event) for event in msgspec.json.decode(line, type=_Frame).events]
        except UNREADABLE:
            pass
    return [line]


def _likely_key(topic: EventTopic, value: bytes, number: int) -> str:
    """The key that an unchecked line would have, or one of its own when it shows none."""
    try:
        key = json.loads(value)[KEY_FIELDS[topic]]
        return key if key and key.encode() else f"line-{number}"
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError):
        return f"line-{number}"


def _shown(file: Path, topic: EventTopic, manner: Manner, quiet: bool) -> Iterator[Line]:
    """The lines in their time, with a progress bar where a person looks on."""
    from stream.client.csv_lines import table_of
    from stream.client.line_files import read_lines
    from stream.client.recordings import paced

    wait_s = paced(manner.speed or None)
    total = file.stat().st_size if str(file) != "-" else None
    with progress_bar(topic, total, hidden=quiet or not sys.stderr.isatty()) as advance:
        for line in read_lines(file, table=table_of(topic), exact=manner.raw):
            if manner.speed:
                time.sleep(wait_s(_time_of(topic, line.value)))
            advance(line.position)
            yield line


def _time_of(topic: EventTopic, value: bytes) -> float:
    from stream.client.times import epoch_of

    try:
        at = json.loads(value)[TIME_FIELDS[topic]]
        return epoch_of(at) if isinstance(at, str) else float(at)
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return 0.0  # of the past: never waited for


@contextmanager
def progress_bar(label: str, total: int | None, hidden: bool) -> Iterator[Any]:
    if hidden:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda position: progress.update(task, completed=position)
