"""`sidestream up`, `demo`, `worker`, `trainer` and `replay`: what runs for long."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.cli.output import emit, table
from stream.cli.system import Bootstrap, DataDir, Json, SettingsFile, settings_for

Port = Annotated[int | None, typer.Option("--web-port", min=0, max=65535, help="HTTP port; 0 takes a free one.")]


def up(
    web_port: Port = None,
    broker_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the embedded broker; 0 takes a free one.")
    ] = None,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Run everything on this machine: broker, worker with scorer, trainer, web page.

    Prints `ready` with its addresses when it can serve, and writes them to addresses.json in the data folder. Stopped
    (or killed) and started again on the same folder, it goes on where it was. With --bootstrap-servers that Kafka is
    used instead of the embedded broker.

    Example: sidestream up --data-dir ./data

    Example: sidestream up --data-dir ./data --bootstrap-servers kafka-1:9092,kafka-2:9092
    """
    from stream.up import run_up

    run_up(
        settings_for(data_dir, bootstrap_servers, settings),
        web_port=web_port,
        broker_port=broker_port,
        embedded=bootstrap_servers is None,
        as_json=as_json,
    )


def demo(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A recorded stream; without it, a simulated population.")
    ] = None,
    leave: Annotated[
        bool, typer.Option("--exit", help="End the system afterwards; status 0 only if everything was seen.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=0.0, help="Times the stream's own pace; without it, as fast as it goes.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show the whole way on a running system, with measured times.

    An item published and recommended to someone before any engagement; a click and the changed order after it; a
    training run triggered, gated and swapped while requests keep being answered.

    Example: sidestream demo --exit

    Example: sidestream demo recordings/my-stream --exit --json
    """
    from stream.demo.demo import run_demo

    raise typer.Exit(run_demo(folder, leave=leave, speed=speed, data_dir=data_dir, as_json=as_json))


def worker(
    web_port: Port = None,
    data_dir: DataDir = None,
    bootstrap_servers: Bootstrap = None,
    settings: SettingsFile = None,
) -> None:
    """Run one worker: the production unit. Start more to scale, up to the partition count.

    Example: sidestream worker --bootstrap-servers kafka:9092 --data-dir /var/lib/sidestream
    """
    import msgspec

    _use_one_thread()
    found = settings_for(data_dir, bootstrap_servers, settings)
    if web_port is not None:
        found = msgspec.structs.replace(found, serving=msgspec.structs.replace(found.serving, port=web_port))
    from stream.worker import run_worker

    raise typer.Exit(run_worker(found))


def trainer(data_dir: DataDir = None, bootstrap_servers: Bootstrap = None, settings: SettingsFile = None) -> None:
    """Run the continued pre-training service; exactly one. It uses a GPU if there is one.

    Example: sidestream trainer --bootstrap-servers kafka:9092 --settings production.toml
    """
    _use_one_thread()  # torch has a setting of its own: training.threads
    from trainer.runs.service import run_trainer

    raise typer.Exit(run_trainer(settings_for(data_dir, bootstrap_servers, settings)))


def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="uploads.jsonl[.gz] and engagements.jsonl[.gz].")],
    report: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Where to write the report.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="OUT.html", help="Where to write the report with plots.")] = None,
    sample: Annotated[int, typer.Option(min=1, help="How many engagements to evaluate.")] = 3000,
    seed: Annotated[int, typer.Option(help="Decides the sample and everything random.")] = 0,
    repeats: Annotated[bool, typer.Option("--repeats", help="Do not exclude items that the user already has.")] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also: what each source and group of features is worth.")
    ] = False,
    delays: Annotated[
        bool, typer.Option("--delays", help="Also: the price of a state that is a minute, hour, day, week old; longer.")
    ] = False,
    settings: SettingsFile = None,
    as_json: Json = False,
) -> None:
    """Evaluate prequentially on a recorded stream: test each sampled engagement, then learn from it. Needs no Kafka.

    Example: sidestream replay recordings/my-stream --report report.json

    Example: sidestream replay recordings/my-stream --ablate --delays --html report.html
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: give one with uploads.jsonl[.gz] and engagements.jsonl[.gz]")
    _use_one_thread()
    from trainer.evaluation.replay import run_replay

    chosen = settings_for(None, None, settings)
    result = run_replay(
        folder,
        chosen,
        sample=sample,
        seed=seed,
        repeats=repeats,
        ablate=ablate,
        delays=delays,
        report=report,
        html=html,
        quiet=as_json,
    )
    emit(result, as_json)
    if not as_json:
        show_replay(result)


def _use_one_thread() -> None:
    """Before numpy is imported: products here are small, and on busy cores threads would only wait for each other."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


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
        typer.echo(line)
    recalls = {name: {"recall": share} for name, share in result["source_recall"].items()}
    parts = (
        ("source", "recall", recalls),
        ("ranked with", f"hr@{k}", result["ablations"]),
        ("state frozen for", f"hr@{k}", result.get("delays", {})),
    )
    for heading, measure, found in parts:
        if found:
            table((heading, measure), [(name, _share(each, measure)) for name, each in found.items()])


def _share(found: Mapping[str, Any] | None, measure: str) -> str:
    value = (found or {}).get(measure)
    return "–" if value is None else f"{value:.3f}"
