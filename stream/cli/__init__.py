"""The command line: `sidestream COMMAND`. Each module holds a group of commands; heavy imports wait inside them.

May import `store`, `trainer.evaluation`, `trainer.runs`, `trainer.semantic_ids`, `stream` (its worker), `stream.kafka`,
`stream.client`, `stream.up`, `stream.terminal` and `stream.demo`: what is heavy only inside the commands that run it.

Invariant: an expected failure (an exception of sidestream's own, whose message says what to do, or what the operating
system refused) is one line and a status other than 0, never a traceback; with --json it is one JSON document,
`{"error": ...}`.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

from store.reporting.log_lines import is_json
from stream.cli import (
    asking,
    checkpoints,
    codebook,
    config,
    dead_letters,
    processes,
    publishing,
    replay,
    republishing,
    topics,
    training,
)
from stream.cli.data import exporting, importing, validating
from stream.cli.doctor.command import app as _doctor
from stream.terminal.output import tell_failure

_OWN = ("store", "trainer", "stream", "sidestream")

app = typer.Typer(
    name="sidestream",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Stream workers that keep a generative recommender seconds behind its Kafka log.",
    epilog="A running system is found through --data-dir, or --bootstrap-servers and --url; each has a SIDESTREAM_… "
    "variable and a key in the --settings file. Every command has --help with examples, and --json for programs."
    "\n\nExample: sidestream up --data-dir ./data"
    "\n\nExample: sidestream publish uploads catalogue.jsonl.gz --data-dir ./data"
    "\n\nExample: sidestream recommend --user u00042 --data-dir ./data",
)
for _part in (processes, asking, training, republishing, replay, importing, validating, exporting):
    app.add_typer(_part.app)
app.add_typer(_doctor)
app.add_typer(publishing.app, name="publish")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(codebook.app, name="codebook")
app.add_typer(topics.app, name="topics")
app.add_typer(config.app, name="config")
app.add_typer(dead_letters.app, name="dead-letters")


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for client in ("kafka", "aiokafka"):
        logging.getLogger(client).setLevel(logging.CRITICAL)  # what they warn of, our errors say with a remedy
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that has no such letters shows their numbers
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=arguments)
    except Exception as error:
        if not _expected(error):
            raise
        words = arguments[: arguments.index("--")] if "--" in arguments else arguments
        if is_json():  # a process of its own, whose log is for programs
            logging.getLogger("sidestream").critical("%s", _told(error))
        else:
            tell_failure(_told(error), "--json" in words)
        raise SystemExit(1) from None


def _print_version(asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        typer.echo(f"sidestream {version('sidestream')}")
    except PackageNotFoundError:
        typer.echo("sidestream, run from a checkout that is not installed")
    raise typer.Exit


@app.callback()
def _options_of_all(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None: ...


def _expected(error: Exception) -> bool:
    """Whether the message of the error is meant for the person who ran the command."""
    return type(error).__module__.partition(".")[0] in _OWN or isinstance(error, OSError)


def _told(error: Exception) -> str:
    """What an error says; what the operating system refused, with the file that it is about."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}: make it possible, or give another path"
    return str(error)
