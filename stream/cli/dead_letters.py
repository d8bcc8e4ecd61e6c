"""`sidestream dead-letters`: what was refused, looked at and sent again."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.cli.arguments.options import LOG, Options, command
from stream.terminal.output import moment, table

if TYPE_CHECKING:
    from stream.kafka.dead_letters import DeadLetter

app = typer.Typer(
    no_args_is_help=True,
    help="What was refused: look at it, send it again.",
    epilog="Example: sidestream dead-letters list --reason missing_field",
)

TEXT = 2000
"""Characters of an event that --json gives as text, beside its bytes."""

Reason = Annotated[str | None, typer.Option(help="Only letters refused for this reason, e.g. not_json.")]
Source = Annotated[str | None, typer.Option("--topic", help="Only letters from this topic, e.g. uploads.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many letters.")]


@command(app, takes=LOG, name="list")
def list_(options: Options, reason: Reason = None, source: Source = None, limit: Limit = 50) -> None:
    """List refused events with the time at which they came, their reason, where they lay, and their text.

    Example: sidestream dead-letters list --reason missing_field --topic engagements
    """
    from stream.kafka.dead_letters import count_by_reason, read_letters

    letters = list(read_letters(options.system().settings, reason=reason, topic=source))
    shown = letters[-limit:] if limit else letters
    counts = count_by_reason(letters)
    if not options.as_json and shown:
        rows = [
            (moment(_came_at(x)), x.reason, f"{x.topic}/{x.partition}@{x.offset}", x.detail[:80], x.preview())
            for x in shown
        ]
        table(("came", "reason", "where", "detail", "event"), rows)
    summary = ", ".join(f"{name} {count}" for name, count in counts.items())
    options.emit(
        {
            "found": len(letters),
            "by_reason": counts,
            "letters": [_document(letter) for letter in shown],
            "told": [{"came_at": _came_at(letter), "text": letter.preview(TEXT)} for letter in shown],
        },
        f"{len(letters)} dead letters" + (f": {summary}" if summary else ""),
    )


@command(app, takes=LOG)
def replay(
    options: Options,
    reason: Reason = None,
    source: Source = None,
    limit: Limit = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were published again before.")] = False,
) -> None:
    """Publish refused events again, as they were, to the topic they came from.

    Do it once what made them bad is mended, e.g. a vector's width in the settings. Letters stay on the log until
    their retention ends; those that were published again before are left out.

    Example: sidestream dead-letters replay --reason wrong_width
    """
    from stream.kafka.dead_letters import read_letters
    from stream.kafka.dead_letters import replay as send_again

    settings = options.system().settings
    letters = read_letters(settings, reason=reason, topic=source, limit=limit, replayed=again)
    sent = send_again(settings, letters)
    options.emit({"replayed": sent}, f"{sent} dead letters published again")


def _came_at(letter: DeadLetter) -> float | None:
    """When the broker first had the event, epoch seconds."""
    return letter.came_at_ms / 1000 if letter.came_at_ms >= 0 else None


def _document(letter: DeadLetter) -> dict[str, Any]:
    return {
        **{name: value for name, value in asdict(letter).items() if name not in ("place", "came_at_ms")},
        "key": None if letter.key is None else b64encode(letter.key).decode(),
        "value": None if letter.value is None else b64encode(letter.value).decode(),
    }
