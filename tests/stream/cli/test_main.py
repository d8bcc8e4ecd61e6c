"""The command line as a whole: a manual, one form for every answer, one line for every failure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from stream.cli import app
from tests.stream.conftest import Run


def test_settings_that_are_wrong_are_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[kafka]\ngrup = 1\n")
    ran = run("topics", "list", "--settings", tmp_path / "s.toml")
    assert ran.status == 1
    assert "grup" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("arguments", [["-h"], ["publish", "--help"], ["checkpoints", "rollback", "-h"], ["up", "-h"]])
def test_help_is_a_manual(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.status == 0
    if len(arguments) > 1 and arguments[0] != "publish":
        assert "Example: sidestream" in ran.out


def leaves() -> Iterator[tuple[tuple[str, ...], Any]]:
    root: Any = typer.main.get_command(app)
    for name, each in root.commands.items():
        for below, leaf in getattr(each, "commands", {}).items():
            yield (name, below), leaf
        if not hasattr(each, "commands"):
            yield (name,), each


@pytest.mark.parametrize(("words", "leaf"), [pytest.param(*each, id=" ".join(each[0])) for each in leaves()])
def test_every_command_is_a_manual_page_with_a_twin_for_programs(words: tuple[str, ...], leaf: Any) -> None:
    assert re.search(rf"Example: ([^\n]* )?sidestream {' '.join(words)}\b", leaf.help)
    named = {option for each in leaf.params for option in each.opts}
    assert "--json" in named
    shared = {each.name: each for each in leaf.params if each.name in ("data_dir", "bootstrap_servers", "url")}
    assert all(each.help and each.envvar for each in shared.values())


@pytest.mark.parametrize("group", ["publish", "checkpoints", "codebook", "topics", "dead-letters"])
def test_every_group_shows_an_example(run: Run, group: str) -> None:
    assert "Example: sidestream" in run(group, "--help").out


def test_the_version(run: Run) -> None:
    ran = run("--version")
    assert (ran.status, ran.out) == (0, f"sidestream {version('sidestream')}\n")


def test_what_the_operating_system_refuses_is_one_line(run: Run, tmp_path: Path) -> None:
    ran = run("replay", tmp_path, "--settings", tmp_path)
    assert (ran.status, ran.err.count("\n"), "Is a directory" in ran.err) == (1, 1, True)
    (tmp_path / "file").write_text("")
    held = run("up", "--data-dir", tmp_path / "file" / "below")
    assert (held.status, held.err.count("\n")) == (1, 1)
    assert "cannot be used as a data folder (Not a directory): give another --data-dir" in held.err
    assert "cannot be used" in run("up", "--data-dir", tmp_path / "file" / "below", "--json").document["error"]


def test_a_failure_with_json_is_a_document_unless_json_is_an_id(run: Run) -> None:
    assert "error" in run("trace", "--url", "http://127.0.0.1:1", "--json", "x").document
    assert run("trace", "--url", "http://127.0.0.1:1", "--", "--json").out == ""


def test_usage_errors_are_two(run: Run) -> None:
    assert run("fly").status == 2
    assert run("recommend", "-k", "0").status == 2
