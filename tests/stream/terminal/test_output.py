"""Output: tables whole when piped, times in words, failures in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.terminal.output import emit, moment, span, table, tell_failure
from stream.terminal.text import plain

HOSTILE = st.text(st.characters(codec="utf-8"), min_size=1).map(lambda text: f"[/b]{text}\\")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=HOSTILE, cell=HOSTILE)
def test_a_table_holds_any_text(title: str, cell: str, capsys: pytest.CaptureFixture[str]) -> None:
    table(("item", "[bold]"), [(cell, None), (1, "whole")], title=title)
    out = capsys.readouterr().out
    assert out.startswith(plain(title))
    assert plain(cell) in out
    assert "[bold]" in out
    assert "\x1b" not in out


def test_a_piped_table_breaks_no_cell(capsys: pytest.CaptureFixture[str]) -> None:
    table(("id", "title"), [("x" * 256, "word " * 100)], title="y" * 300)
    out = capsys.readouterr().out
    assert "x" * 256 in out
    assert "word " * 100 in out
    assert "y" * 300 in out


def test_a_document_or_text(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": "\x9b"}, True, "text")
    assert json.loads(capsys.readouterr().out) == {"a": "\x9b"}
    emit({"a": 1}, False, "two\nlines\x1b[2J")
    assert capsys.readouterr().out == "two\nlines\\x1b[2J\n"
    emit({"a": 1}, False)
    assert capsys.readouterr().out == ""


def test_a_failure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell_failure("not\nfound \x1b[31m")
    assert capsys.readouterr().err == "sidestream: not\\nfound \\x1b[31m\n"
    tell_failure("not\nfound", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"error": "not\nfound"}


def test_times_for_people() -> None:
    assert [span(s) for s in (None, 0.0214, 3.21, 300.0, 86400.0 * 3, 86400.0 * 400)] == [
        "–",
        "21 ms",
        "3.2 s",
        "5.0 min",
        "72.0 h",
        "400.0 d",
    ]
    assert moment(1.2345) == "1970-01-01 00:00:01.234 UTC"
