"""`sidestream train`: ask the running trainer for a run, and follow it until the scorer serves its checkpoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from stream.cli.arguments.options import SYSTEM, Options, client_of, command
from stream.cli.arguments.system import System
from stream.terminal.text import plain

if TYPE_CHECKING:
    from store.checkpoints import RunRecord, TrainRequest

app = typer.Typer()


class NotServedError(TimeoutError):
    """The scorer did not take a checkpoint up: look at its log, and at `sidestream checkpoints list`."""


@command(app, takes=SYSTEM)
def train(
    options: Options,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to the gate's verdict and the swap.")] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds that --wait may take.")] = 3600.0,
) -> None:
    """Ask the running trainer for an incremental run now.

    With --wait it exits 0 only when the new checkpoint serves; 1 when the gate refused it or the run failed.

    Example: sidestream train --wait
    """
    from stream.client.training_runs import request_training

    system = options.system()
    request, offset = request_training(system.settings)
    document = {"run": request.run, "requested_at": request.requested_at}
    if not wait:
        options.emit(document, f"asked for {request.run}")
        return
    steps = followed(system, request, offset, timeout, options.as_json)
    last = steps[-1]
    document["steps"] = msgspec.to_builtins(steps)
    if last.state != "published" or last.checkpoint is None:
        if options.as_json:
            options.emit({**document, "serving": False})
            raise typer.Exit(1)
        raise options.fail(f"{request.run} {last.state}: {last.detail or 'see the log of the trainer'}")
    took_s = served(system, last.checkpoint, timeout, request.requested_at)
    options.emit({**document, "serving": True, "took_s": took_s}, f"{took_s:8.1f} s  serving  {last.checkpoint}")


def followed(system: System, request: TrainRequest, offset: int, timeout_s: float, as_json: bool) -> list[RunRecord]:
    """The steps of a run to its end, each told as it comes."""
    from stream.client.training_runs import follow

    steps: list[RunRecord] = []
    for step in follow(system.settings, request.run, offset, timeout_s=timeout_s):
        steps.append(step)
        if not as_json:
            told = plain(f"{step.state}  {step.checkpoint or ''}  {step.detail}")
            typer.echo(f"{step.at - request.requested_at:8.1f} s  {told}")
    return steps


def served(system: System, checkpoint: str, timeout_s: float, since: float) -> float:
    """Seconds from `since` (epoch seconds) until the worker serves the checkpoint. Raises `NotServedError`."""
    with client_of(system) as client:
        deadline = time.monotonic() + timeout_s
        while client.checkpoints()["serving"] != checkpoint:
            if time.monotonic() > deadline:
                raise NotServedError(
                    f"{checkpoint} is published, but {system.url} did not serve it within {timeout_s:g} s: "
                    "look at the log of the worker"
                )
            time.sleep(0.05)
    return round(time.time() - since, 3)
