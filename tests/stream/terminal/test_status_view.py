"""The status for people: an idle stage is a dash, what is not ready says why, and names of others are text."""

from __future__ import annotations

from typing import Any

import pytest

from stream.terminal.status_view import show_status

REPORT: dict[str, Any] = {
    "stages": [
        {"title": "upload → recommendable", "value_s": None, "p50_s": None, "objective_s": 1.0, "verdict": "unknown"},
        {"title": "engagement → embedding", "value_s": 0.2, "p50_s": 0.1, "objective_s": 0.5, "verdict": "met"},
    ],
    "lag": {"uploads": {"events": 12_000, "objective": 5_000, "verdict": "missed"}},
    "verdict": "missed",
    "live_items": 3,
    "checkpoint": None,
    "codebook": "v0",
}


def test_every_stage_with_its_objective(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(REPORT)
    out = capsys.readouterr().out
    assert "12,000 events" in out
    assert "unknown" in out
    assert "missed: 3 live items, checkpoint none yet, codebook v0\n" in out


def test_what_is_not_ready_says_why_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_status({**REPORT, "ready": False, "reason": "restoring\n[/b]\x1b[2J", "codebook": "[/v]"})
    out = capsys.readouterr().out
    assert r"codebook [/v]; not ready: restoring\n[/b]\x1b[2J" in out
    assert "\x1b" not in out
