"""Arguments with a dash: ids as catalogues have them, options as the command has them."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from stream.cli.arguments.options import OUTPUT, Options, command

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@command(app, takes=OUTPUT)
def show(options: Options, ids: list[str], k: int = typer.Option(1, "-k"), name: str = "") -> None:
    """Prints what it was given."""
    print(ids, k, name, options.as_json)


def said(*arguments: str) -> str:
    ran = CliRunner().invoke(app, list(arguments))
    return ran.output.strip()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-dash"], "['-dash'] 1  False"),
        (["-dash", "--json", "-k", "3"], "['-dash'] 3  True"),
        (["-k3", "-x", "a"], "['-x', 'a'] 3  False"),
        (["--json", "--", "--json"], "['--json'] 1  True"),
        (["-x", "--name", "-y", "--", "-h"], "['-x', '-h'] 1 -y False"),
        (["-"], "['-'] 1  False"),
        (["--name=-y", "a"], "['a'] 1 -y False"),
    ],
)
def test_an_id_may_begin_with_a_dash(arguments: list[str], shown: str) -> None:
    assert said(*arguments) == shown


def test_an_option_that_does_not_exist_says_how_ids_are_written() -> None:
    told = " ".join(said("--nope").split())
    assert "No such option: --nope" in told
    assert "after `--`" in told


def test_help_is_help() -> None:
    assert "Prints what it was given" in said("-h")
