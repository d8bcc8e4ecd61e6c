"""`sidestream recommend`, `trace` and `status`: what a running system answers, and how fresh it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from stream.cli.output import emit, moment, span, table
from stream.cli.system import Bootstrap, DataDir, Json, SettingsFile, Url, find_system

if TYPE_CHECKING:
    from stream.client.client import Client


@contextmanager
def asking(
    data_dir: Path | None, url: str | None, settings: Path | None, bootstrap_servers: str | None = None
) -> Iterator[Client]:
    """A client of the system's scorer."""
    from stream.client.client import Client

    client = Client(find_system(data_dir, bootstrap_servers, url, settings).url)
    try:
        yield client
    finally:
        client.close()


def recommend(
    user: Annotated[str, typer.Option(help="Whom to recommend to; an unknown user is answered too.")] = "",
    task: Annotated[str, typer.Option(help="home, next, similar, search or notification.")] = "home",
    query: Annotated[str | None, typer.Option(help="What is searched for.")] = None,
    item: Annotated[str | None, typer.Option(help="The item that is looked at now.")] = None,
    country: Annotated[str | None, typer.Option(help="Where the user is.")] = None,
    device: Annotated[str | None, typer.Option(help="On what the answer is shown.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    data_dir: DataDir = None,
    url: Url = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Ask a running scorer for the best items now.

    Example: sidestream recommend --user u00042 -k 5

    Example: sidestream recommend --user u00042 --task search --query "sourdough for beginners" --json
    """
    with asking(data_dir, url, settings) as client:
        answer = client.recommend(
            user,
            task=task,  # type: ignore[arg-type]  # the scorer names the remedy for a task that does not exist
            query=query,
            item_id=item,
            country=country,
            device=device,
            k=k,
        )
        titles = {} if as_json else {each.item_id: _title(client, each.item_id) for each in answer.items}
    if as_json:
        emit(msgspec.to_builtins(answer), True)
        return
    rows = [
        (rank, x.item_id, titles[x.item_id], f"{x.score:.4f}", "·".join(map(str, x.semantic_id)), x.source, x.reason)
        for rank, x in enumerate(answer.items, start=1)
    ]
    table(("", "item", "title", "score", "semantic id", "source", "why"), rows)
    told = f"checkpoint {answer.checkpoint or 'none yet'}, codebook {answer.codebook}, {answer.took_ms:.1f} ms"
    emit(None, False, told + (", degraded: the user's own state was out of reach" if answer.degraded else ""))


def trace(
    item_id: Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.")],
    data_dir: DataDir = None,
    url: Url = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Show every stage of one item with its time: published, semantic ID, live, first recommended, first engaged.

    Example: sidestream trace v000017
    """
    with asking(data_dir, url, settings) as client:
        found = client.trace(item_id)
    if as_json:
        emit(found, True)
        return
    stages: list[Mapping[str, Any]] = found["stages"]
    start = next((stage["at"] for stage in stages if stage["at"] is not None), None)
    rows = [(stage["stage"], moment(stage["at"]), _after(start, stage["at"])) for stage in stages]
    table(("stage", "at", "after the first"), rows, title=item_id)


def status(
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    url: Url = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Show the freshness of every stage, the lag, the ages of model and codebook, each against its objective.

    Exits 1 when an objective is missed or the system is not ready, so that a script can rely on it.

    Example: sidestream status --data-dir ./data
    """
    with asking(data_dir, url, settings, bootstrap_servers) as client:
        report = client.status()
    healthy = report.get("verdict") != "missed" and report.get("ready", True)
    if as_json:
        emit(report, True)
    else:
        show_status(report)
    if not healthy:
        raise typer.Exit(1)


def show_status(report: Mapping[str, Any]) -> None:
    """The status as a table."""
    rows: list[tuple[object, ...]] = [
        (stage["title"], span(stage["value_s"]), span(stage.get("p50_s")), span(stage["objective_s"]), stage["verdict"])
        for stage in report["stages"]
    ]
    rows += [
        (f"lag of {topic}", f"{each['events']:,} events", "–", f"{each['objective']:,} events", each["verdict"])
        for topic, each in report["lag"].items()
    ]
    table(("stage", "now (p99)", "p50", "objective", "verdict"), rows)
    told = (
        f"{report['verdict']}: {report['live_items'] or 0:,} live items, "
        f"checkpoint {report.get('checkpoint') or 'none yet'}"
    )
    for line in _learning(report):
        emit(None, False, line)
    reason = "" if report.get("ready", True) else f"; not ready: {report.get('reason')}"
    emit(None, False, f"{told}, codebook {report.get('codebook')}{reason}")


def _learning(report: Mapping[str, Any]) -> list[str]:
    """How well calibrated the ranker's heads are, and what exploration has shown; nothing for an older worker."""
    lines = []
    heads = report.get("ranker_heads") or {}
    if heads:
        told = (f"{name} {one['predicted']:.3f} (came {one['observed']:.3f})" for name, one in heads.items())
        lines.append(f"the ranker expected: {', '.join(told)}")
    found = report.get("exploration") or {}
    if found.get("lines"):
        lines.append(
            f"exploration: {found['explored']:,} of {found['lines']:,} lines ({found['share']:.1%}), "
            f"{found['explored_hits']:,} of {found['hits']:,} hits; "
            f"{found['covered']:,} of {found['little_known']:,} little-known items shown"
        )
    return lines


def _title(client: Client, item_id: str) -> str:
    from stream.client.client import NotFoundError

    try:
        return str(client.item(item_id).get("title") or "")[:60]
    except NotFoundError:
        return ""


def _after(start: float | None, at: float | None) -> str:
    return "–" if at is None or start is None else f"+{span(at - start)}"
