"""`sidestream topics` and `sidestream dead-letters`: the log as an operator sees it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from stream.cli.output import emit, fail, table
from stream.cli.system import Bootstrap, DataDir, Json, SettingsFile, find_system

topics = typer.Typer(no_args_is_help=True, help="The topics of the log: create them, look at them.")
dead_letters = typer.Typer(no_args_is_help=True, help="What was refused: look at it, send it again.")

Reason = Annotated[str | None, typer.Option(help="Only letters refused for this reason, e.g. not_json.")]
Source = Annotated[str | None, typer.Option("--topic", help="Only letters from this topic, e.g. uploads.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many letters.")]


@topics.command()
def create(
    data_dir: DataDir = None, bootstrap_servers: Bootstrap = None, settings: SettingsFile = None, as_json: Json = False
) -> None:
    """Create the missing topics and check the others; may be run any number of times.

    Partitions and replication come from the settings (kafka.partitions, kafka.replication; -1 is the broker's
    default), and cannot be changed afterwards: choose as many partitions as there may ever be workers.

    Example: SIDESTREAM_KAFKA__PARTITIONS=16 sidestream topics create --bootstrap-servers kafka:9092
    """
    from stream.kafka.topics import create_topics

    states = create_topics(find_system(data_dir, bootstrap_servers, None, settings).settings)
    made = sum(state.created for state in states)
    emit(
        {"created": made, "topics": [asdict(state) for state in states]},
        as_json,
        f"{made} topics created, {len(states) - made} were there",
    )


@topics.command("list")
def list_(
    data_dir: DataDir = None, bootstrap_servers: Bootstrap = None, settings: SettingsFile = None, as_json: Json = False
) -> None:
    """List the topics as they are on the broker; fails when one is missing or they do not fit together.

    Example: sidestream topics list --json
    """
    from stream.kafka.topics import TopicsError, check_topics, describe_topics

    system = find_system(data_dir, bootstrap_servers, None, settings)
    states = describe_topics(system.settings)
    fault = None
    try:
        check_topics(states, system.settings)
    except TopicsError as error:
        fault = str(error)
    if as_json:
        emit({"topics": [asdict(state) for state in states], "error": fault}, True)
    else:
        rows = [(s.full_name, s.key, s.cleanup, s.partitions or "missing", s.replication or None) for s in states]
        table(("topic", "key", "kept", "partitions", "replicas"), rows)
    if fault is not None:
        raise typer.Exit(1) if as_json else fail(fault)


@dead_letters.command("list")
def list_letters(
    reason: Reason = None,
    source: Source = None,
    limit: Limit = 50,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """List refused events with their reason and where they lay.

    Example: sidestream dead-letters list --reason missing_field --topic engagements
    """
    import base64

    from stream.kafka.dead_letters import count_by_reason, read_letters

    system = find_system(data_dir, bootstrap_servers, None, settings)
    letters = list(read_letters(system.settings, reason=reason, topic=source))
    shown = letters[-limit:] if limit else letters
    counts = count_by_reason(letters)
    if as_json:
        records = [
            {
                **{name: value for name, value in asdict(letter).items() if name != "place"},
                "key": None if letter.key is None else base64.b64encode(letter.key).decode(),
                "value": None if letter.value is None else base64.b64encode(letter.value).decode(),
            }
            for letter in shown
        ]
        emit({"found": len(letters), "by_reason": counts, "letters": records}, True)
        return
    if shown:
        rows = [(x.reason, f"{x.topic}/{x.partition}@{x.offset}", x.detail[:80], x.preview()) for x in shown]
        table(("reason", "where", "detail", "event"), rows)
    summary = ", ".join(f"{name} {count}" for name, count in counts.items())
    emit(None, False, f"{len(letters)} dead letters" + (f": {summary}" if summary else ""))


@dead_letters.command()
def replay(
    reason: Reason = None,
    source: Source = None,
    limit: Limit = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were published again before.")] = False,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Publish refused events again, as they were, to the topic they came from.

    Do it once what made them bad is mended, e.g. a vector's width in the settings. Letters stay on the log until
    their retention ends; those that were published again before are left out.

    Example: sidestream dead-letters replay --reason wrong_width
    """
    from stream.kafka.dead_letters import read_letters
    from stream.kafka.dead_letters import replay as send_again

    system = find_system(data_dir, bootstrap_servers, None, settings)
    letters = read_letters(system.settings, reason=reason, topic=source, limit=limit, replayed=again)
    sent = send_again(system.settings, letters)
    emit({"replayed": sent}, as_json, f"{sent} dead letters published again")
