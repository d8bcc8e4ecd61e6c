"""`sidestream config`: every setting with its value and where it came from; what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from store.settings import DEFAULT, LoadedSettings, SettingsError, read_settings, unguarded
from store.settings.checks import KEYS, unknown
from stream.cli.arguments.options import SETTINGS, Options, command
from stream.terminal.output import table

app = typer.Typer(
    no_args_is_help=True,
    help="The settings: their values and origins, and what is wrong with them.",
    epilog="Example: sidestream config show --changed",
)

MASKED = "***"
SECRETS = ("password", "secret", "token", "credential", "jaas")
"""What marks the name of a property whose value is never shown."""


@command(app, takes=SETTINGS)
def show(
    options: Options,
    key: Annotated[str, typer.Argument(metavar="[KEY]", help="One setting, or a table of them.")] = "",
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not the default.")] = False,
) -> None:
    """Show every setting with its value and its origin: the default, a file, or an environment variable.

    Example: sidestream config show training

    Example: sidestream config show --changed --settings production.toml --json
    """
    if key and not any(f"{known}.".startswith(f"{key}.") for known in KEYS):
        raise options.fail(unknown(key))
    rows = [row for row in rows_of(read_settings(options.settings_file)) if f"{row['key']}.".startswith(_under(key))]
    rows = [row for row in rows if not changed or row["origin"] != DEFAULT]
    options.emit({"settings": rows})
    if not options.as_json:
        table(("setting", "value", "origin"), [(row["key"], _shown(row["value"]), row["origin"]) for row in rows])


@command(app, takes=SETTINGS)
def check(
    options: Options,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Instead of --settings.")] = None,
) -> None:
    """Check a settings file and the environment: every mistake, with the nearest key that there is. Status 1 for any.

    Example: sidestream config check production.toml
    """
    try:
        loaded = read_settings(file or options.settings_file)
    except SettingsError as error:
        options.emit({"ok": False, "problems": list(error.problems)}, "\n".join(error.problems))
        raise typer.Exit(1) from None
    if reason := unguarded(loaded.settings.serving):
        options.emit({"ok": False, "problems": [reason]}, reason)
        raise typer.Exit(1)
    changed = sum(row["origin"] != DEFAULT for row in rows_of(loaded))
    options.emit(
        {"ok": True, "problems": []}, f"no mistakes; {changed} settings are given, the others have their defaults"
    )


def rows_of(loaded: LoadedSettings) -> list[dict[str, Any]]:
    """Key, value (secrets masked) and origin of every setting, in the order of the tables."""
    tree = msgspec.to_builtins(loaded.settings)
    return [{"key": key, "value": _masked(key, _at(tree, key)), "origin": loaded.origin(key)} for key in KEYS]


def _at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree[name]
    return tree


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {below: _masked(below, one) for below, one in value.items()}
    # The name of a file, and the hook of a token, are no secrets themselves.
    secret = any(word in name.lower() for word in SECRETS) and not name.endswith(("_file", "security.token"))
    return MASKED if secret and value else value


def _under(key: str) -> str:
    return f"{key}." if key else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} = {one}" for name, one in value.items()) or "–"
    return "–" if value == "" else str(value)
