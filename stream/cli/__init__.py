"""The command line: `sidestream COMMAND`. Each module holds a group of commands; heavy imports wait inside them.

Invariant: an expected failure (an exception of sidestream's own, whose message says what to do) is one line and a
status other than 0, never a traceback; with --json it is one JSON document, `{"error": ...}`.
"""

from __future__ import annotations

import logging
import sys

import typer

from stream.cli import asking, codebook, processes, publishing, topics, training
from stream.cli.output import fail

_OWN = ("store", "trainer", "stream", "sidestream")

app = typer.Typer(
    name="sidestream",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Stream workers that keep a generative recommender seconds behind its Kafka log.",
    epilog="A running system is found through --data-dir, or --bootstrap-servers and --url; each has a SIDESTREAM_… "
    "variable and a key in the --settings file.",
)
app.command()(processes.up)
app.command()(processes.demo)
app.command()(processes.worker)
app.command()(processes.trainer)
app.add_typer(publishing.app, name="publish")
app.command()(asking.recommend)
app.command()(asking.trace)
app.command()(training.train)
app.add_typer(training.checkpoints, name="checkpoints")
app.add_typer(codebook.codebook, name="codebook")
app.add_typer(topics.topics, name="topics")
app.add_typer(topics.dead_letters, name="dead-letters")
app.command()(processes.replay)
app.command()(asking.status)


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits with its status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what it warns of, our errors say with a remedy
    try:
        app(args=arguments)
    except Exception as error:
        if not _expected(error):
            raise
        raise SystemExit(fail(str(error), "--json" in arguments).exit_code) from None


def _expected(error: Exception) -> bool:
    """Whether the message of the error is meant for the person who ran the command."""
    return type(error).__module__.partition(".")[0] in _OWN or isinstance(error, FileNotFoundError)
