"""Shared options: a command has those that it takes, and finds its system by them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from stream.cli.arguments.options import LOG, OUTPUT, SCORER, SYSTEM, Options, command


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SIDESTREAM_")]:
        monkeypatch.delenv(name)


def app_that_takes(takes: tuple[str, ...], seen: list[Options]) -> typer.Typer:
    app = typer.Typer()

    @command(app, takes=takes)
    def act(options: Options, item: str, k: int = 3) -> None:
        """Does something."""
        seen.append(options)
        options.emit({"item": item, "k": k}, f"{item} {k}")

    return app


@pytest.mark.parametrize(
    ("takes", "has", "lacks"),
    [
        (OUTPUT, {"--json"}, {"--url", "--data-dir", "--settings"}),
        (LOG, {"--data-dir", "--bootstrap-servers", "--settings", "--json"}, {"--url"}),
        (SCORER, {"--data-dir", "--url", "--settings", "--json"}, {"--bootstrap-servers"}),
        (SYSTEM, {"--data-dir", "--bootstrap-servers", "--url", "--settings", "--json"}, set()),
    ],
)
def test_a_command_has_what_it_takes(takes: tuple[str, ...], has: set[str], lacks: set[str]) -> None:
    leaf = typer.main.get_command(app_that_takes(takes, []))
    named = {option for each in leaf.params for option in each.opts}
    assert has <= named
    assert not lacks & named
    assert leaf.help == "Does something."


def test_what_was_said_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []
    app = app_that_takes(SYSTEM, seen)
    ran = CliRunner().invoke(app, ["i1", "--data-dir", "d", "--url", "u", "--k", "5", "--json"])
    assert (ran.exit_code, ran.output) == (0, '{"item": "i1", "k": 5}\n')
    assert seen == [Options(data_dir=Path("d"), url="u", as_json=True)]
    monkeypatch.setenv("SIDESTREAM_BOOTSTRAP_SERVERS", "kafka:1")
    assert CliRunner().invoke(app, ["i1"]).output == "i1 3\n"
    assert seen[-1] == Options(bootstrap_servers="kafka:1")
    assert seen[-1].settings().kafka.bootstrap_servers == "kafka:1"


@dataclass(frozen=True, kw_only=True)
class Together:
    """Options that several commands share."""

    item: str
    often: Annotated[int, typer.Option("--often")] = 1


def test_a_dataclass_stands_for_its_fields() -> None:
    app, seen = typer.Typer(), []

    @command(app, takes=OUTPUT)
    def act(options: Options, together: Together, more: str = "m") -> None:
        seen.append((options.as_json, together, more))

    assert CliRunner().invoke(app, ["i", "--often", "3", "--json"]).exit_code == 0
    assert CliRunner().invoke(app, ["j"]).exit_code == 0
    assert seen == [(True, Together(item="i", often=3), "m"), (False, Together(item="j"), "m")]
    assert CliRunner().invoke(app, []).exit_code == 2


def test_a_failure_is_told_and_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert Options().fail("nothing there").exit_code == 1
    assert capsys.readouterr().err == "sidestream: nothing there\n"
