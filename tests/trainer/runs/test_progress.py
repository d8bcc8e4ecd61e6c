"""Progress on a real terminal: one bar a step, the earlier ones full; and nothing where nobody looks."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress

import pytest

from trainer.runs.progress import RunProgress

Run = Sequence[tuple[str, float]]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *runs: Run) -> str:
    """What a terminal that is standard error is sent of some runs, one after the other."""
    master, slave = os.openpty()
    progress = RunProgress()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        for run in runs:
            for step, done in run:
                progress(step, done)
            progress.close()
            progress.close()  # a second time changes nothing
    sent = b""
    with suppress(OSError):  # its other side is closed
        while read := os.read(master, 1 << 16):
            sent += read
    os.close(master)
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", sent.decode())  # without what moves the cursor


def bars(screen: str) -> dict[str, int]:
    """How long the bar of each step was when it was drawn last: 40 is full."""
    return {step: len(bar) for step, bar in re.findall(r"(\w+) (━*)", screen) if bar}


def test_each_step_has_a_bar_and_those_before_it_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_a_terminal(monkeypatch, [("codebook", 0.25), ("learning", 0.1), ("learning", 0.5)])
    assert bars(screen) == {"codebook": 40, "learning": 20}


def test_what_is_more_than_all_is_all_and_the_next_run_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = on_a_terminal(monkeypatch, [("learning", 7.0)], [("gate", 0.5)])
    assert bars(screen) == {"learning": 40, "gate": 20}
    assert "learning" not in screen[screen.index("gate") :]


def test_where_nobody_looks_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RunProgress()
    progress("learning", 0.5)
    progress.close()
    assert capsys.readouterr() == ("", "")
