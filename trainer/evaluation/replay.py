"""Replay: a recorded folder in, a report out (docs/contracts.md, "Recorded streams"): what `sidestream replay` runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from store.events import Engagement, Upload
from store.settings import Settings
from trainer.content.encoders import text_encoder
from trainer.evaluation.model_in_replay import ModelInReplay, NoModel
from trainer.evaluation.prequential import OnProgress, Replay, ReplayOptions
from trainer.evaluation.recorded_streams import read_events
from trainer.evaluation.report import report as report_of
from trainer.recommender import Recommender

DELAYS_S = {"nothing": 0.0, "a minute": 60.0, "an hour": 3600.0, "a day": 86_400.0, "a week": 604_800.0}
DELAY_SAMPLE, DELAY_EXAMPLES = 1000, 0.05
"""Engagements evaluated, and the share that teaches the ranker, when only delays are compared."""


def run_replay(
    folder: Path,
    settings: Settings = Settings(),
    *,
    sample: int = 3000,
    k: int = 10,
    seed: int = 0,
    repeats: bool = False,
    delay_s: float = 0.0,
    ablate: bool = False,
    delays: bool = False,
    report: Path | None = None,
    html: Path | None = None,
    quiet: bool = False,
    model: Callable[[Recommender], ModelInReplay] = lambda _: NoModel(),
) -> dict[str, Any]:
    """Replays the stream in `folder` and returns its report, also written to `report` (JSON) and `html` where given.

    `ablate` adds what each feature group and source is worth; `delays` replays five times more on a smaller sample,
    with nothing frozen and with the state frozen for a minute, an hour, a day and a week of event time. Raises
    `StreamError` if the folder is no recorded stream. `model` makes what trains beside it (`trainer.runs`).
    """
    options = ReplayOptions(sample=sample, k=k, seed=seed, delay_s=delay_s, ablate=ablate)
    if repeats:
        serving = msgspec.structs.replace(settings.serving, repeats=True)
        settings = msgspec.structs.replace(settings, serving=serving)
    uploads, engagements = read_events(folder, "uploads", Upload), read_events(folder, "engagements", Engagement)
    encoder = text_encoder(settings.content.encoder)

    def replayed(name: str, chosen: ReplayOptions) -> dict[str, Any]:
        replay = Replay(uploads, engagements, encoder, chosen, settings, model=model)
        with _progress(name, quiet) as on_progress:
            made = report_of(folder.name, replay.run(on_progress), chosen, settings)
        heads = replay.recommender.ranker.heads
        measured = heads.measured() if heads is not None else {}
        return {**made, "heads": {head: msgspec.structs.asdict(one) for head, one in measured.items()}}

    found = replayed(folder.name, options)
    if delays:
        found["delays"] = {}
        for label, seconds in DELAYS_S.items():
            frozen = replace(
                options,
                delay_s=seconds,
                sample=min(sample, DELAY_SAMPLE),
                examples=min(options.examples, DELAY_EXAMPLES),
                ablate=False,
                baselines=False,
                within_limit=0,
            )
            found["delays"][label] = replayed(f"{folder.name}, state frozen for {label}", frozen)["overall"]
    if report is not None:
        report.write_text(json.dumps(found, indent=1) + "\n")
    if html is not None:
        from trainer.evaluation.page import page

        html.write_text(page(found))
    return found


@contextmanager
def _progress(name: str, quiet: bool) -> Iterator[OnProgress]:
    """A bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task(f"replay {name}", total=None, now="")
        yield lambda done, total, now: bar.update(task, completed=done, total=total, now=now)
