"""`sidestream recommend`, `trace` and `status`: what a running system answers, and how fresh it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from stream.cli.arguments.options import SCORER, SYSTEM, Options, client_of, command
from stream.terminal.output import moment, span, table
from stream.terminal.status_view import show_status
from stream.terminal.text import plain

if TYPE_CHECKING:
    from store.requests import Answer
    from stream.client.client import Client

app = typer.Typer()


@command(app, takes=SCORER)
def recommend(
    options: Options,
    user: Annotated[str, typer.Option(help="Whom to recommend to; an unknown user is answered too.")] = "",
    task: Annotated[str, typer.Option(help="home, next, similar, search or notification.")] = "home",
    query: Annotated[str | None, typer.Option(help="What is searched for.")] = None,
    item: Annotated[str | None, typer.Option(help="The item that is looked at now.")] = None,
    country: Annotated[str | None, typer.Option(help="Where the user is.")] = None,
    device: Annotated[str | None, typer.Option(help="On what the answer is shown.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    exclude: Annotated[list[str] | None, typer.Option(help="An item to leave out; may be given again.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Only of it; given again: of one of them.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only in it; given again: in one of them.")] = None,
    creator: Annotated[
        list[str] | None, typer.Option(help="Only of this creator; given again: of one of them.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with it; given again: with one of them.")] = None,
    max_age_s: Annotated[float | None, typer.Option(help="Only uploaded within so many seconds.")] = None,
    candidate: Annotated[list[str] | None, typer.Option(help="Rank only this item; may be given again.")] = None,
) -> None:
    """Ask a running scorer for the best items now; where there are fewer, it says why.

    Example: sidestream recommend --user u00042 --tag bread --max-age-s 3600

    Example: sidestream recommend --user u00042 -k 5

    Example: sidestream recommend --user u00042 --task search --query "sourdough for beginners" --json
    """
    with options.client() as client:
        answer = client.recommend(
            user,
            task=task,  # type: ignore[arg-type]  # the scorer names the remedy for a task that does not exist
            query=query,
            item_id=item,
            country=country,
            device=device,
            k=k,
            exclude=exclude or (),
            categories=category or (),
            languages=language or (),
            creator_ids=creator or (),
            tags=tag or (),
            max_age_s=max_age_s,
            candidates=candidate or (),
        )
        titles = {} if options.as_json else {each.item_id: _title(client, each.item_id) for each in answer.items}
    if not options.as_json:
        _show_items(answer, titles)
    degraded = ", degraded: the user's own state was out of reach" if answer.degraded else ""
    text = f"checkpoint {answer.checkpoint or 'none yet'}, codebook {answer.codebook}, {answer.took_ms:.1f} ms"
    notes = "".join(f"\nnote: {plain(note.text)}" for note in answer.notes)
    options.emit(msgspec.to_builtins(answer), text + degraded + notes)


@command(app, takes=SCORER)
def trace(
    options: Options,
    item_id: Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.")],
) -> None:
    """Show every stage of one item with its time: published, semantic ID, live, first recommended, first engaged.

    Exits 1 when the item is unknown.

    Example: sidestream trace v000017

    Example: sidestream trace --json -- --an-id-with-dashes
    """
    with options.client() as client:
        found = client.trace(item_id)
    options.emit(found)
    if options.as_json:
        return
    stages: list[Mapping[str, Any]] = found["stages"]
    start = next((stage["at"] for stage in stages if stage["at"] is not None), None)
    rows = [(stage["stage"], moment(stage["at"]), _after(start, stage["at"])) for stage in stages]
    table(("stage", "at", "after the first"), rows, title=item_id)


@command(app, takes=SYSTEM)
def status(options: Options) -> None:
    """Show the freshness of every stage, the lag, the ages of model and codebook, each against its objective.

    Exits 1 when an objective is missed (also by canaries that do not come), the lag or how the canaries fare is not
    known (no broker answers, or takes them), or the system is not ready, so that a script can rely on it.

    Example: sidestream status --data-dir ./data

    Example: sidestream status --url http://worker-1:8470 --json
    """
    system = options.system()
    with client_of(system) as client:
        report = client.status()
    options.emit({**report, "metrics": system.metrics})
    if not options.as_json:
        show_status(report)
        for name, url in system.metrics.items():
            options.emit(None, f"metrics of the {name}: {url}")
    canaries = [stage.get("canary") or {} for stage in report["stages"]]
    is_unknown = not report.get("lag") or any(canary.get("verdict") == "unknown" for canary in canaries)
    if report.get("verdict") == "missed" or not report.get("ready", True) or is_unknown:
        raise typer.Exit(1)


def _show_items(answer: Answer, titles: Mapping[str, str]) -> None:
    rows = [
        (rank, x.item_id, titles[x.item_id], f"{x.score:.4f}", "·".join(map(str, x.semantic_id)), x.source, x.reason)
        for rank, x in enumerate(answer.items, start=1)
    ]
    table(("", "item", "title", "score", "semantic id", "source", "why"), rows)


def _title(client: Client, item_id: str) -> str:
    """A title to show beside the id; an answer is worth showing without it."""
    from stream.client.client import ClientError

    try:
        return str(client.item(item_id).get("title") or "")[:60]
    except ClientError:
        return ""


def _after(start: float | None, at: float | None) -> str:
    """How long after the upload; what people did may be older than that, where the item was uploaded again."""
    if at is None or start is None:
        return "–"
    return f"+{span(at - start)}" if at >= start else "before this upload"
