"""`sidestream checkpoints`: the model's lineage and its levers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from stream.cli.arguments.options import SCORER, SYSTEM, Options, client_of, command
from stream.cli.arguments.system import System
from stream.cli.training import served
from stream.terminal.output import moment, table

if TYPE_CHECKING:
    from store.records.levers import Lever

app = typer.Typer(
    no_args_is_help=True,
    help="Every model that was ever trained, and which one serves.",
    epilog="Example: sidestream checkpoints list",
)

Wait = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for the scorer to serve it; 0: do not.")]
Checkpoint = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="An id that `checkpoints list` shows.")]


@command(app, takes=SCORER, name="list")
def list_(options: Options) -> None:
    """List the checkpoints that the scorer knows, oldest first, with the gate's verdicts and the scores they rest on.

    Example: sidestream checkpoints list --json
    """
    with options.client() as client:
        found = client.checkpoints()
    if not options.as_json:
        rows = [_row(each, found["serving"]) for each in found["checkpoints"]]
        table(("", "checkpoint", "parent", "verdict", "published", "location", "why"), rows)
    options.emit(found, f"serving {found['serving'] or 'none yet'}")


@command(app, takes=SYSTEM)
def show(options: Options, checkpoint: Checkpoint) -> None:
    """Show the manifest of one checkpoint: parent, codebook, log offsets, data times, metrics, verdict, hashes.

    Example: sidestream checkpoints show 20261122T150000-0003
    """
    from store.checkpoints import read_manifest

    manifest = read_manifest(_location(options.system(), checkpoint))
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode()
    options.emit(msgspec.to_builtins(manifest), text)


@command(app, takes=SYSTEM)
def promote(options: Options, checkpoint: Checkpoint, wait: Wait = 30.0) -> None:
    """Serve this checkpoint, whatever the gate said of it.

    Example: sidestream checkpoints promote 20261122T150000-0003
    """
    _pull(options, "promote", options.system(), checkpoint, wait)


@command(app, takes=SYSTEM)
def rollback(
    options: Options,
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="[CHECKPOINT]", help="Where to return to; by default the serving one's parent."),
    ] = None,
    wait: Wait = 30.0,
) -> None:
    """Return to an earlier checkpoint.

    Example: sidestream checkpoints rollback
    """
    system = options.system()
    if checkpoint is None:
        with client_of(system) as client:
            checkpoint = _parent_of_serving(options, client.checkpoints())
    _pull(options, "rollback", system, checkpoint, wait)


def _pull(options: Options, action: Lever, system: System, checkpoint: str, wait_s: float) -> None:
    """Publishes a person's decision, and waits until the scorer follows it."""
    from store.checkpoints import CHECKPOINT_KEY, read_manifest
    from store.records.levers import pulled
    from store.topics import CHECKPOINTS
    from stream.client.publisher import Publisher

    location = _location(system, checkpoint)
    began = time.time()
    record = pulled(action, read_manifest(location), location, began)
    with Publisher(settings=system.settings, framing=None) as publisher:
        publisher.send(CHECKPOINTS, CHECKPOINT_KEY.decode(), msgspec.json.encode(record))
    document = {"checkpoint": checkpoint, "action": action}
    if not wait_s:
        options.emit({**document, "serving": None}, f"{action} of {checkpoint} published")
        return
    took_s = served(system, checkpoint, wait_s, began)
    options.emit({**document, "serving": True, "took_s": took_s}, f"{checkpoint} serves after {took_s:.2f} s")


def _location(system: System, checkpoint: str) -> Path:
    """The folder of a checkpoint: in the checkpoint folder of the settings, or where the scorer found it."""
    from stream.client.client import ClientError

    folder = system.settings.checkpoint_folder() / checkpoint
    if folder.is_dir():
        return folder.resolve()
    try:
        with client_of(system) as client:
            known = {each["checkpoint"]: each["location"] for each in client.checkpoints()["checkpoints"]}
    except ClientError:
        known = {}
    return Path(known.get(checkpoint, folder))


def _parent_of_serving(options: Options, found: dict[str, Any]) -> str:
    parents = {each["checkpoint"]: each["parent"] for each in found["checkpoints"]}
    parent = parents.get(found["serving"])
    if not parent:
        raise options.fail(
            f"the serving checkpoint ({found['serving'] or 'none'}) has no parent to return to: name one of "
            "`sidestream checkpoints list`"
        )
    return str(parent)


def _row(each: dict[str, Any], serving: str | None) -> tuple[object, ...]:
    mark = "▸" if each["checkpoint"] == serving else ""
    verdict, published = _verdict(each["verdict"]), moment(each["published_at"])
    why = "; ".join(each.get("reasons", ())) or None
    return mark, each["checkpoint"], each["parent"], verdict, published, each["location"], why


def _verdict(verdict: Any) -> str:
    if isinstance(verdict, dict):
        return "passed" if verdict.get("passed") else f"refused: {verdict.get('reason', '')}"
    return str(verdict)
