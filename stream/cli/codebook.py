"""`sidestream codebook`: the versions that give items their semantic IDs, and their health."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from stream.cli.arguments.options import SCORER, SYSTEM, Options, client_of, command
from stream.cli.training import followed, served
from stream.terminal.output import table

app = typer.Typer(
    no_args_is_help=True,
    help="The codebook that gives items their semantic IDs.",
    epilog="Example: sidestream codebook show --svg topics.svg",
)

Timeout = Annotated[float, typer.Option(min=1.0, help="Seconds that it may take until the new version serves.")]


@command(app, takes=SCORER)
def show(
    options: Options,
    svg: Annotated[Path | None, typer.Option(metavar="OUT.svg", help="Write the tree of topics as a picture.")] = None,
) -> None:
    """Show the serving version: uniqueness, collisions, perplexity and dead codes per level, errors, drift, churn,
    topics.

    A refresh is due when fresh items are quantised much worse than those the version was made of; the trainer then
    makes one by itself, unless codebook.refresh_on_drift is off.

    Example: sidestream codebook show --svg topics.svg
    """
    with options.client() as client:
        report = client.codebook()
    if not report:
        raise options.fail("the worker has not measured its codebook yet: ask again in a moment")
    if svg is not None:
        from trainer.semantic_ids.health import CodebookHealth, told
        from trainer.semantic_ids.topic_tree import PrefixTopic
        from trainer.semantic_ids.topic_tree import svg as picture

        notes = told(msgspec.convert(report["health"], CodebookHealth))
        svg.write_text(picture(msgspec.convert(report["topics"], PrefixTopic), notes))
    options.emit(report)
    if not options.as_json:
        tell(report)


@command(app, takes=SYSTEM)
def refresh(options: Options, timeout: Timeout = 1800.0) -> None:
    """Train a new version from the one that serves, bind it to the next checkpoint, and wait until both serve.

    The old version serves until then and is kept for rollback. Every live item is assigned under the new one in the
    background, and published again under it. Tells the churn: per level, the share of items whose codes changed.

    Modalities that came after the serving version was made are passed over, and named by `codebook show`: `train` takes
    them in. Needs no new engagements: on a quiet log the newest ones that were held out judge again.

    Example: sidestream codebook refresh --json
    """
    _run(options, "refresh", timeout)


@command(app, takes=SYSTEM)
def train(options: Options, timeout: Timeout = 1800.0) -> None:
    """Train a version from scratch, with no regard to the IDs that items have; otherwise like `refresh`.

    Example: sidestream codebook train --json
    """
    _run(options, "anew", timeout)


_BY_LEVEL = ("levels", "churn")


def tell(report: dict[str, Any]) -> None:
    """Prints a report for people."""
    from rich.console import Console

    from trainer.semantic_ids.topic_tree import PrefixTopic, draw

    health = report["health"]
    figures = [(name.replace("_", " "), _short(value)) for name, value in health.items() if name not in _BY_LEVEL]
    table(("", ""), figures)
    churn = [_short(share) for share in health["churn"]] or ["–"] * len(health["levels"])
    rows = [
        (level + 1, each["codes"], each["dead"], _short(each["perplexity"]), changed)
        for level, (each, changed) in enumerate(zip(health["levels"], churn, strict=True))
    ]
    table(("level", "codes", "dead", "perplexity", "churn"), rows)
    Console().print(draw(msgspec.convert(report["topics"], PrefixTopic)))


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def _run(options: Options, how: Literal["refresh", "anew"], timeout_s: float) -> None:
    from stream.client.training_runs import request_training

    system = options.system()
    request, offset = request_training(system.settings, codebook=how)
    steps = followed(system, request, offset, timeout_s, options.as_json)
    last = steps[-1]
    if last.state != "published" or not last.checkpoint:
        raise options.fail(f"{request.run} {last.state}: {last.detail or 'see the log of the trainer'}")
    took_s = served(system, last.checkpoint, timeout_s, request.requested_at)
    with client_of(system) as client:
        found = client.checkpoints()
    document = {
        "run": request.run,
        "checkpoint": last.checkpoint,
        "codebook": found["codebook"],
        "churn": last.churn,
        "took_s": took_s,
        "steps": msgspec.to_builtins(steps),
    }
    text = f"{took_s:8.1f} s  serving  {last.checkpoint} with {found['codebook']}; churn by level {last.churn}"
    options.emit(document, text)
