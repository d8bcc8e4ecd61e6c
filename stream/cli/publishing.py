"""`sidestream publish`: files of events and tombstones to topics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.topics import ENGAGEMENTS, PROFILES, UPLOADS
from stream.cli.arguments.options import LOG, Options, command
from stream.cli.publish_file import Manner, ends_of, publish_file, publisher_of, send_spilled

app = typer.Typer(
    no_args_is_help=True,
    help="Put events on the log: files of JSON lines, tombstones.",
    epilog="Example: sidestream publish uploads catalogue.jsonl.gz --data-dir ./data",
)

File = Annotated[
    Path,
    typer.Argument(
        help="JSON lines, or CSV whose first line names the fields; plain or gzip. `-` reads standard input.",
        metavar="FILE|-",
    ),
]
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
Spill = Annotated[
    Path | None,
    typer.Option(
        "--spill",
        help="Folder for what no broker takes in its time: it is kept there, on the disk, instead of failing, and sent "
        "by the next command with the same folder, or by `publish spilled`.",
    ),
]
Unframed = Annotated[bool, typer.Option("--unframed", help="One event in each record, as foreign producers do.")]


@command(app, takes=LOG)
def uploads(options: Options, file: File, speed: Speed = None, raw: Raw = False, spill: Spill = None) -> None:
    """Publish items, one JSON object a line.

    Required: item_id, uploaded_at (UTC epoch seconds, or ISO 8601 with its zone). Optional: title, description,
    transcript, tags, creator_id, category, language, duration_s, features {modality: [numbers]}. Unknown fields are
    kept. In CSV, tags and features are JSON.

    Example: sidestream publish uploads catalogue.jsonl.gz --data-dir ./data
    """
    publish_file(options, UPLOADS, file, Manner(speed=speed, raw=raw, spill=spill))


@command(app, takes=LOG)
def engagements(
    options: Options,
    file: File,
    speed: Speed = None,
    raw: Raw = False,
    unframed: Unframed = False,
    spill: Spill = None,
) -> None:
    """Publish what people did, one JSON object a line.

    Required: event_id, user_id, item_id, kind, occurred_at (UTC epoch seconds, or ISO 8601 with its zone).
    Optional: value, task, query, context_item_id, country, device, request_id. An event whose
    event_id is among the user's last 128 (store.history_length) counts once however often it is published; a file
    with more of a user than that, published twice, counts what lies further back twice.

    Example: tail -f clicks.jsonl | sidestream publish engagements -
    """
    publish_file(options, ENGAGEMENTS, file, Manner(speed=speed, raw=raw, unframed=unframed, spill=spill))


@command(app, takes=LOG)
def profiles(options: Options, file: File, speed: Speed = None, raw: Raw = False, spill: Spill = None) -> None:
    """Publish what is known of people: user_id, updated_at, attributes {name: string or number}.

    Example: sidestream publish profiles people.jsonl
    """
    publish_file(options, PROFILES, file, Manner(speed=speed, raw=raw, spill=spill))


@command(app, takes=LOG, name="take-down")
def take_down(
    options: Options,
    item_ids: Annotated[
        list[str], typer.Argument(help="Items that are never to be recommended again.", metavar="ITEM…")
    ],
    spill: Spill = None,
) -> None:
    """Take items down: from now on they are recommended to nobody.

    Example: sidestream publish take-down v000017 v000018
    """
    with publisher_of(options, spill=spill) as publisher:
        for item_id in item_ids:
            publisher.take_down(item_id)
    ends, ended = ends_of(publisher, spill)
    options.emit({"taken_down": item_ids, **ends}, f"{len(item_ids)} taken down{ended}")


@command(app, takes=LOG)
def forget(
    options: Options,
    user_ids: Annotated[list[str], typer.Argument(help="Users to forget.", metavar="USER…")],
    spill: Spill = None,
) -> None:
    """Forget users: profile, history and vector go, everywhere; the next training run does not see their events.

    Example: sidestream publish forget u00042
    """
    with publisher_of(options, spill=spill) as publisher:
        for user_id in user_ids:
            publisher.forget(user_id)
    ends, ended = ends_of(publisher, spill)
    options.emit({"forgotten": user_ids, **ends}, f"{len(user_ids)} forgotten{ended}")


@command(app, takes=LOG)
def spilled(
    options: Options,
    folder: Annotated[Path, typer.Argument(help="Folder that was given as --spill.", metavar="FOLDER")],
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds after which it ends, with status 1.")] = 60.0,
) -> None:
    """Send what outages have left in a spill folder; ends when it is empty.

    One process at a time has the folder: a publisher that is at work on it sends what lies there by itself.

    Example: sidestream publish spilled /var/lib/shop/spill --timeout 600
    """
    send_spilled(options, folder, timeout)
