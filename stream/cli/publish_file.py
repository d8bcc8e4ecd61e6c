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

from store.topics import ENGAGEMENTS, PROFILES, UPLOADS
from stream.cli.options import Options
from stream.terminal.text import plain

if TYPE_CHECKING:
    from store.topics import EventTopic
    from stream.client.publisher import Publisher

_TIMES = {UPLOADS: "uploaded_at", ENGAGEMENTS: "occurred_at", PROFILES: "updated_at"}
_KEYS = {UPLOADS: "item_id", ENGAGEMENTS: "user_id", PROFILES: "user_id"}
_REPORTED = 100


class _Frame(msgspec.Struct):
    events: list[msgspec.Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How lines go onto the log: `speed` times their own time (None: at once), unchecked, one event a record."""

    speed: float | None = None
    raw: bool = False
    unframed: bool = False


@dataclass(slots=True)
class _Tally:
    """What came of a file so far."""

    published: int = 0
    bad: int = 0
    bad_lines: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def publisher_of(options: Options, unframed: bool = False) -> Iterator[Publisher]:
    """A publisher to the system's log; at the end everything is acknowledged."""
    from stream.client.publisher import Publisher
    from stream.kafka.deliveries import Framing

    with Publisher(settings=options.system().settings, framing=None if unframed else Framing()) as publisher:
        yield publisher


def publish_file(options: Options, topic: EventTopic, file: Path, manner: Manner) -> None:
    """Publishes every event of the file (`-`: standard input), tells the tally, and exits 1 when a line was bad."""
    if str(file) != "-" and not file.is_file():
        raise FileNotFoundError(f"no file {file}: give a file of JSON lines, or - for standard input")
    tally = _Tally()
    began = time.monotonic()
    with publisher_of(options, manner.unframed) as publisher:
        for number, value in _shown(file, topic, manner.speed, quiet=options.as_json):
            if manner.raw:
                publisher.send(topic, _likely_key(topic, value, number), value)
                tally.published += 1
            else:
                _publish_line(publisher, topic, number, value, tally, quiet=options.as_json)
    took_s = time.monotonic() - began
    report = {
        "topic": topic,
        "published": tally.published,
        "bad": tally.bad,
        "bad_lines": tally.bad_lines,
        "took_s": round(took_s, 3),
        "events_per_s": round(tally.published / max(took_s, 1e-9), 1),
    }
    text = f"{tally.published} {topic} published in {took_s:.1f} s ({report['events_per_s']:,.0f}/s)"
    options.emit(report, text + (f", {tally.bad} bad lines" if tally.bad else ""))
    if tally.bad:
        raise typer.Exit(1)


def _publish_line(
    publisher: Publisher, topic: EventTopic, number: int, value: bytes, tally: _Tally, quiet: bool
) -> None:
    from stream.client.admission import InvalidEventError

    for event in _events(value):
        try:
            publisher.publish(topic, event)
            tally.published += 1
        except InvalidEventError as error:
            tally.bad += 1
            if tally.bad <= _REPORTED:
                told = {"line": number, "reason": error.reason, "field": error.field, "remedy": error.remedy}
                tally.bad_lines.append(told)
            if not quiet and tally.bad <= _REPORTED:
                more = " (further bad lines are only counted)" if tally.bad == _REPORTED else ""
                typer.echo(f"line {number}: {plain(error)}{more}", err=True)


def _events(line: bytes) -> list[bytes]:
    """The events of a line, which may itself be a frame."""
    if line.startswith(b'{"events"'):
        try:
            return [bytes(event) for event in msgspec.json.decode(line, type=_Frame).events]
        except msgspec.MsgspecError:
            pass
    return [line]


def _likely_key(topic: EventTopic, value: bytes, number: int) -> str:
    """The key that an unchecked line would have, or one of its own when it shows none."""
    try:
        key = json.loads(value)[_KEYS[topic]]
    except (ValueError, TypeError, LookupError, RecursionError):
        return f"line-{number}"
    return key if isinstance(key, str) and key else f"line-{number}"


def _shown(file: Path, topic: EventTopic, speed: float | None, quiet: bool) -> Iterator[tuple[int, bytes]]:
    """The lines in their time, with a progress bar where a person looks on."""
    from stream.client.recordings import paced, read_lines

    wait_s = paced(speed or None)
    total = file.stat().st_size if str(file) != "-" else None
    with _progress(topic, total, hidden=quiet or not sys.stderr.isatty()) as advance:
        for line in read_lines(file):
            if speed:
                time.sleep(wait_s(_time_of(topic, line.value)))
            advance(line.position)
            yield line.number, line.value


def _time_of(topic: EventTopic, value: bytes) -> float:
    try:
        return float(json.loads(value)[_TIMES[topic]])
    except (ValueError, TypeError, LookupError, RecursionError):
        return 0.0  # of the past: never waited for


@contextmanager
def _progress(label: str, total: int | None, hidden: bool) -> Iterator[Any]:
    if hidden:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda position: progress.update(task, completed=position)
