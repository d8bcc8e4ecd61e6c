"""`sidestream replay`: a recorded stream evaluated prequentially, and its report as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.cli.arguments.options import SETTINGS, Options, command
from stream.cli.processes import use_one_thread
from stream.terminal.output import emit, table

app = typer.Typer()


@command(app, takes=SETTINGS)
def replay(
    options: Options,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="uploads.jsonl[.gz] and engagements.jsonl[.gz].")],
    report: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Where to write the report.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="OUT.html", help="Where to write the report with plots.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many engagements to evaluate.")] = 3000,
    seed: Annotated[int, typer.Option(help="Decides the sample and everything random.")] = 0,
    repeats: Annotated[bool, typer.Option("--repeats", help="Do not exclude items that the user already has.")] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also: what each source and group of features is worth.")
    ] = False,
    train_every: Annotated[
        int, typer.Option(min=0, help="Also: train, judge and swap the model every so many engagements; 0: no model.")
    ] = 0,
    delays: Annotated[
        bool, typer.Option("--delays", help="Also: the price of a state that is a minute, hour, day, week old; longer.")
    ] = False,
) -> None:
    """Evaluate prequentially on a recorded stream: test each sampled engagement, then learn from it. Needs no Kafka.

    Example: sidestream replay recordings/my-stream --report report.json

    Example: sidestream replay recordings/my-stream --ablate --delays --html report.html
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: give one with uploads.jsonl[.gz] and engagements.jsonl[.gz]")
    use_one_thread()
    from trainer.evaluation.replay import run_replay

    settings = options.settings()
    more: dict[str, Any] = {}
    if train_every:
        from trainer.runs.replayed_model import trained_every  # torch comes with it

        more["model"] = trained_every(train_every, settings)
    result = run_replay(
        folder,
        settings,
        **more,
        sample=sample,
        seed=seed,
        repeats=repeats,
        ablate=ablate,
        delays=delays,
        report=report,
        html=html,
        quiet=options.as_json,
    )
    options.emit(result)
    if not options.as_json:
        show_replay(result)


def show_replay(result: Mapping[str, Any]) -> None:
    """The report as a table: every recommender's hits by slice."""
    k = result["k"]
    slices = ("overall", "fresh", "cold")
    systems = {"sidestream": result, **result["baselines"]}
    rows = [
        (
            name,
            *(_share(found.get(part), f"hr@{k}") for part in slices),
            *(_share(found.get(part), f"ndcg@{k}") for part in slices),
        )
        for name, found in systems.items()
    ]
    headings = ("", *(f"hr@{k} {part}" for part in slices), *(f"ndcg@{k} {part}" for part in slices))
    table(headings, rows, title=f"{result['stream']}: {result['evaluated']:,} engagements evaluated")
    for line in result["headline"]:
        emit(None, False, line)
    if "model" in result:
        show_model(result["model"], k)
    recalls = {name: {"recall": share} for name, share in result["source_recall"].items()}
    parts = (
        ("source", "recall", recalls),
        ("ranked with", f"hr@{k}", result["ablations"]),
        ("state frozen for", f"hr@{k}", result.get("delays", {})),
    )
    for heading, measure, found in parts:
        if found:
            table((heading, measure), [(name, _share(each, measure)) for name, each in found.items()])


def show_model(told: Mapping[str, Any], k: int) -> None:
    """What the model is worth: alone, and to the ranker."""
    names = ("alone", "with", "without")
    rows = [
        (name, *(_share(told[name], f"{who}_hr@{k}") for who in names), _gain(told[name]))
        for name in ("overall", "fresh", "cold", "younger", "older")
    ]
    table(("model", *(f"{who} hr@{k}" for who in names), "gain"), rows, title=f"{len(told['runs'])} training runs")
    cold = told["cold_within"]
    told_cold = ", ".join(f"{who} {_share(cold, key)}" for who, key in (
        ("model", f"model_hr@{k}"), ("likeness of content", f"content_hr@{k}"), ("chance", f"chance@{k}")))  # fmt: skip
    emit(None, False, f"first engagements among the untouched: {told_cold} ({cold['evaluated']})")
    emit(None, False, f"training took {told['train_cpu_s']:.0f} s of a processor")


def _gain(found: Mapping[str, Any]) -> str:
    if found["gain_interval"] is None:
        return "–"
    low, high = found["gain_interval"]
    return f"{found['gain']:+.4f} ({low:+.4f} to {high:+.4f})"


def _share(found: Mapping[str, Any] | None, measure: str) -> str:
    value = (found or {}).get(measure)
    return "–" if value is None else f"{value:.3f}"
