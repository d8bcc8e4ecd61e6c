"""Progress: how far a training run is, on a terminal; nothing where nobody looks."""

from __future__ import annotations

import sys
from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class RunProgress:
    """One bar per step of a run. Call it with (step, part done); `close` when the run ends."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._shown: Progress | None = None
        self._bars: dict[str, TaskID] = {}

    def __call__(self, step: str, done: float) -> None:
        if not sys.stderr.isatty():
            return
        if self._shown is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._shown = Progress(*columns, console=self._console)
            self._shown.start()
        for other, bar in self._bars.items():
            if other != step:
                self._shown.update(bar, completed=1.0)
        if step not in self._bars:
            self._bars[step] = self._shown.add_task(step, total=1.0)
        self._shown.update(self._bars[step], completed=min(1.0, max(0.0, done)))

    def close(self) -> None:
        with suppress(RuntimeError):
            if self._shown is not None:
                self._shown.stop()
        self._shown = None
        self._bars.clear()
