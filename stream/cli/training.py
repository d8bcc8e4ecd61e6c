"""`sidestream train` and `checkpoints`: the model's lineage and its levers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from stream.cli.asking import asking
from stream.cli.output import emit, fail, moment, table
from stream.cli.system import Bootstrap, DataDir, Json, SettingsFile, System, Url, find_system

if TYPE_CHECKING:
    from store.checkpoints import RunRecord, TrainRequest
    from stream.client.client import Client

checkpoints = typer.Typer(no_args_is_help=True, help="Every model that was ever trained, and which one serves.")

Action = Literal["promote", "rollback"]
Wait = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for the scorer to serve it; 0: do not.")]
Checkpoint = Annotated[str, typer.Argument(metavar="CHECKPOINT", help="An id that `checkpoints list` shows.")]


def train(
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to the gate's verdict and the swap.")] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that --wait may take.")] = 3600.0,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    url: Url = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Ask the running trainer for an incremental run now.

    With --wait it exits 0 only when the new checkpoint serves; 1 when the gate refused it or the run failed.

    Example: sidestream train --wait
    """
    from stream.client.training_runs import request_training

    system = find_system(data_dir, bootstrap_servers, url, settings)
    request, offset = request_training(system.settings)
    if not wait:
        emit({"run": request.run, "requested_at": request.requested_at}, as_json, f"asked for {request.run}")
        return
    steps = followed(system, request, offset, timeout, as_json)
    document = {"run": request.run, "requested_at": request.requested_at, "steps": msgspec.to_builtins(steps)}
    last = steps[-1]
    if last.state != "published" or last.checkpoint is None:
        if as_json:
            emit({**document, "serving": False}, True)
            raise typer.Exit(1)
        raise fail(f"{request.run} {last.state}: {last.detail or 'see the log of the trainer'}")
    took_s = served(system, last.checkpoint, timeout, request.requested_at)
    emit({**document, "serving": True, "took_s": took_s}, as_json, f"{took_s:8.1f} s  serving  {last.checkpoint}")


def followed(system: System, request: TrainRequest, offset: int, timeout_s: float, as_json: bool) -> list[RunRecord]:
    """The steps of a run to its end, each told as it comes."""
    from stream.client.training_runs import follow

    steps: list[RunRecord] = []
    for step in follow(system.settings, request.run, offset, timeout_s=timeout_s):
        steps.append(step)
        if not as_json:
            typer.echo(f"{step.at - request.requested_at:8.1f} s  {step.state}  {step.checkpoint or ''}  {step.detail}")
    return steps


@checkpoints.command("list")
def list_(data_dir: DataDir = None, url: Url = None, settings: SettingsFile = None, as_json: Json = False) -> None:
    """List the checkpoints that the scorer knows, oldest first, with the gate's verdicts.

    Example: sidestream checkpoints list --json
    """
    with asking(data_dir, url, settings) as client:
        found = client.checkpoints()
    if as_json:
        emit(found, True)
        return
    rows = [
        (
            "▸" if each["checkpoint"] == found["serving"] else "",
            each["checkpoint"],
            each["parent"],
            _verdict(each["verdict"]),
            moment(each["published_at"]),
            each["location"],
        )
        for each in found["checkpoints"]
    ]
    table(("", "checkpoint", "parent", "verdict", "published", "location"), rows)
    emit(None, False, f"serving {found['serving'] or 'none yet'}")


@checkpoints.command()
def show(
    checkpoint: Checkpoint,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    url: Url = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Show the manifest of one checkpoint: parent, codebook, log offsets, data times, metrics, verdict, hashes.

    Example: sidestream checkpoints show 20261122T150000-0003
    """
    from store.checkpoints import read_manifest

    system = find_system(data_dir, bootstrap_servers, url, settings)
    manifest = read_manifest(_location(system, checkpoint))
    document = msgspec.to_builtins(manifest)
    emit(document, as_json, msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode())


@checkpoints.command()
def promote(
    checkpoint: Checkpoint,
    wait: Wait = 30.0,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    url: Url = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Serve this checkpoint, whatever the gate said of it.

    Example: sidestream checkpoints promote 20261122T150000-0003
    """
    system = find_system(data_dir, bootstrap_servers, url, settings)
    _pull("promote", system, checkpoint, wait, as_json)


@checkpoints.command()
def rollback(
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="[CHECKPOINT]", help="Where to return to; by default the serving one's parent."),
    ] = None,
    wait: Wait = 30.0,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    url: Url = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Return to an earlier checkpoint.

    Example: sidestream checkpoints rollback
    """
    system = find_system(data_dir, bootstrap_servers, url, settings)
    if checkpoint is None:
        with asking(data_dir, system.url, settings) as client:
            checkpoint = _parent_of_serving(client.checkpoints(), as_json)
    _pull("rollback", system, checkpoint, wait, as_json)


def _pull(
    action: Literal["promote", "rollback"], system: System, checkpoint: str, wait_s: float, as_json: bool
) -> None:
    """Publishes a person's decision, and waits until the scorer follows it."""
    from store.checkpoints import CheckpointRecord, read_manifest
    from stream.client.publisher import Publisher

    location = _location(system, checkpoint)
    manifest = read_manifest(location)
    began = time.time()
    record = CheckpointRecord(
        checkpoint=checkpoint,
        parent=manifest.parent,
        location=str(location),
        verdict="promoted" if action == "promote" else manifest.verdict,
        published_at=began,
        action=action,
        codebook=manifest.codebook,
        data_until=manifest.data_until,
    )
    with Publisher(settings=system.settings, framing=None) as publisher:
        publisher.send("checkpoints", "model", msgspec.json.encode(record))
    document = {"checkpoint": checkpoint, "action": action}
    if not wait_s:
        emit({**document, "serving": None}, as_json, f"{action} of {checkpoint} published")
        return
    took_s = served(system, checkpoint, wait_s, began)
    emit({**document, "serving": True, "took_s": took_s}, as_json, f"{checkpoint} serves after {took_s:.2f} s")


class NotServedError(TimeoutError):
    """The scorer did not take a checkpoint up: look at its log, and at `sidestream checkpoints list`."""


def served(system: System, checkpoint: str, timeout_s: float, since: float) -> float:
    """Seconds from `since` until the worker serves the checkpoint."""
    with asking(None, system.url, None) as client:
        deadline = time.monotonic() + timeout_s
        while client.checkpoints()["serving"] != checkpoint:
            if time.monotonic() > deadline:
                raise NotServedError(
                    f"{checkpoint} is published, but {system.url} did not serve it within {timeout_s:g} s: "
                    "look at the log of the worker"
                )
            time.sleep(0.05)
    return round(time.time() - since, 3)


def _location(system: System, checkpoint: str) -> Path:
    """The folder of a checkpoint: in the checkpoint folder of the settings, or where the scorer found it."""
    from stream.client.client import ClientError

    folder = system.settings.checkpoint_folder() / checkpoint
    if folder.is_dir():
        return folder.resolve()
    try:
        with asking(None, system.url, None) as client:
            known = _known(client)
    except ClientError:
        known = {}
    return Path(known.get(checkpoint, folder))


def _known(client: Client) -> dict[str, str]:
    return {each["checkpoint"]: each["location"] for each in client.checkpoints()["checkpoints"]}


def _parent_of_serving(found: dict[str, Any], as_json: bool) -> str:
    parents = {each["checkpoint"]: each["parent"] for each in found["checkpoints"]}
    parent = parents.get(found["serving"])
    if not parent:
        raise fail(
            f"the serving checkpoint ({found['serving'] or 'none'}) has no parent to return to: name one of "
            "`sidestream checkpoints list`",
            as_json,
        )
    return str(parent)


def _verdict(verdict: Any) -> str:
    if isinstance(verdict, dict):
        return "passed" if verdict.get("passed") else f"refused: {verdict.get('reason', '')}"
    return str(verdict)
