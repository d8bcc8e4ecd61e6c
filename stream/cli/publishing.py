"""`sidestream publish`: JSON lines to topics. A bad line is reported by its number and does not stop the others."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from stream.cli.output import emit
from stream.cli.system import Bootstrap, DataDir, Json, SettingsFile, find_system

if TYPE_CHECKING:
    from stream.client.publisher import Publisher

app = typer.Typer(no_args_is_help=True, help="Put events on the log: files of JSON lines, tombstones.")

File = Annotated[Path, typer.Argument(help="JSON lines, plain or .gz; `-` reads standard input.", metavar="FILE|-")]
Speed = Annotated[
    float | None,
    typer.Option(
        min=0.0, help="Keep the events' own time at this many times its speed; without it, as fast as it goes."
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw", help="Send each line unchecked, one record a line: to see what the workers make of bad input."
    ),
]
Unframed = Annotated[bool, typer.Option("--unframed", help="One event in each record, as foreign producers do.")]

EventTopic = Literal["uploads", "engagements", "profiles"]
_TIMES = {"uploads": "uploaded_at", "engagements": "occurred_at", "profiles": "updated_at"}
_KEYS = {"uploads": "item_id", "engagements": "user_id", "profiles": "user_id"}
_REPORTED = 100


class _Frame(msgspec.Struct):
    events: list[msgspec.Raw]


@dataclass(slots=True)
class _Tally:
    """What came of a file so far."""

    published: int = 0
    bad: int = 0
    bad_lines: list[dict[str, Any]] = field(default_factory=list)


@app.command()
def uploads(
    file: File,
    speed: Speed = None,
    raw: Raw = False,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Publish items, one JSON object a line.

    Required: item_id, uploaded_at (UTC epoch seconds). Optional: title, description, transcript, tags, creator_id,
    category, language, duration_s, features {modality: [numbers]}. Unknown fields are kept.

    Example: sidestream publish uploads catalogue.jsonl.gz --data-dir ./data
    """
    _publish("uploads", file, speed, raw, False, data_dir, bootstrap_servers, settings, as_json)


@app.command()
def engagements(
    file: File,
    speed: Speed = None,
    raw: Raw = False,
    unframed: Unframed = False,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Publish what people did, one JSON object a line.

    Required: event_id, user_id, item_id, kind, occurred_at (UTC epoch seconds). Optional: value, task, query,
    context_item_id, country, device, request_id. Publishing a file twice counts each event once.

    Example: tail -f clicks.jsonl | sidestream publish engagements -
    """
    _publish("engagements", file, speed, raw, unframed, data_dir, bootstrap_servers, settings, as_json)


@app.command()
def profiles(
    file: File,
    speed: Speed = None,
    raw: Raw = False,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Publish what is known of people: user_id, updated_at, attributes {name: string or number}.

    Example: sidestream publish profiles people.jsonl
    """
    _publish("profiles", file, speed, raw, False, data_dir, bootstrap_servers, settings, as_json)


@app.command("take-down")
def take_down(
    item_ids: Annotated[
        list[str], typer.Argument(help="Items that are never to be recommended again.", metavar="ITEM…")
    ],
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Take items down: from now on they are recommended to nobody.

    Example: sidestream publish take-down v000017 v000018
    """
    with _publisher(data_dir, bootstrap_servers, settings) as publisher:
        for item_id in item_ids:
            publisher.take_down(item_id)
    emit({"taken_down": item_ids}, as_json, f"{len(item_ids)} taken down")


@app.command()
def forget(
    user_ids: Annotated[list[str], typer.Argument(help="Users to forget.", metavar="USER…")],
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Forget users: profile, history and vector go, everywhere; the next training run does not see their events.

    Example: sidestream publish forget u00042
    """
    with _publisher(data_dir, bootstrap_servers, settings) as publisher:
        for user_id in user_ids:
            publisher.forget(user_id)
    emit({"forgotten": user_ids}, as_json, f"{len(user_ids)} forgotten")


@contextmanager
def _publisher(
    data_dir: Path | None, bootstrap_servers: str | None, settings: Path | None, unframed: bool = False
) -> Iterator[Publisher]:
    from stream.client.publisher import Publisher
    from stream.kafka.deliveries import Framing

    system = find_system(data_dir, bootstrap_servers, None, settings)
    with Publisher(settings=system.settings, framing=None if unframed else Framing()) as publisher:
        yield publisher


def _publish(
    topic: EventTopic,
    file: Path,
    speed: float | None,
    raw: bool,
    unframed: bool,
    data_dir: Path | None,
    bootstrap_servers: str | None,
    settings: Path | None,
    as_json: bool,
) -> None:
    if str(file) != "-" and not file.is_file():
        raise FileNotFoundError(f"no file {file}: give a file of JSON lines, or - for standard input")
    tally = _Tally()
    began = time.monotonic()
    with _publisher(data_dir, bootstrap_servers, settings, unframed) as publisher:
        for number, value in _shown(file, topic, speed, quiet=as_json):
            if raw:
                publisher.send(topic, _likely_key(topic, value, number), value)
                tally.published += 1
            else:
                _publish_line(publisher, topic, number, value, tally, quiet=as_json)
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
    emit(report, as_json, text + (f", {tally.bad} bad lines" if tally.bad else ""))
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
                typer.echo(f"line {number}: {error}{more}", err=True)


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
