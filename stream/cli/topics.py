"""`sidestream topics`: the topics of the log, made and looked at."""

from __future__ import annotations

from dataclasses import asdict

import typer

from stream.cli.arguments.options import LOG, Options, command
from stream.terminal.output import table

app = typer.Typer(
    no_args_is_help=True,
    help="The topics of the log: create them, look at them.",
    epilog="Example: sidestream topics create --bootstrap-servers kafka:9092",
)


@command(app, takes=LOG)
def create(options: Options) -> None:
    """Create the missing topics and check the others; may be run any number of times.

    Partitions and replication come from the settings (kafka.partitions, kafka.replication; -1 is the broker's
    default), and cannot be changed afterwards: choose as many partitions as there may ever be workers. Topics that have
    another count than the settings say are named.

    Example: SIDESTREAM_KAFKA__PARTITIONS=16 sidestream topics create --bootstrap-servers kafka:9092
    """
    from stream.kafka.topics import create_topics, kept_counts

    settings = options.system().settings
    states = create_topics(settings)
    made = sum(state.created for state in states)
    note = kept_counts(states, settings)
    options.emit(
        {"created": made, "topics": [asdict(state) for state in states], "note": note},
        f"{made} topics created, {len(states) - made} were there" + (f"\n{note}" if note else ""),
    )


@command(app, takes=LOG, name="list")
def list_(options: Options) -> None:
    """List the topics as they are on the broker; fails when one is missing or they do not fit together.

    Example: sidestream topics list --json
    """
    from stream.kafka.topics import TopicsError, check_topics, describe_topics

    settings = options.system().settings
    states = describe_topics(settings)
    fault = None
    try:
        check_topics(states, settings)
    except TopicsError as error:
        fault = str(error)
    options.emit({"topics": [asdict(state) for state in states], "error": fault})
    if not options.as_json:
        rows = [(s.full_name, s.key, s.cleanup, s.partitions or "missing", s.replication or None) for s in states]
        table(("topic", "key", "kept", "partitions", "replicas"), rows)
    if fault is not None:
        raise typer.Exit(1) if options.as_json else options.fail(fault)
