"""Loading: settings from the defaults, then a file, then the environment; each value remembers where it came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from store.settings.checks import KEYS, SettingsError, problems_of
from store.settings.tables import Settings

PREFIX = "SIDESTREAM_"
DEFAULT = "default"
_PLAIN = {
    f"{PREFIX}DATA_DIR": "data_dir",
    f"{PREFIX}CHECKPOINT_DIR": "checkpoint_dir",
    f"{PREFIX}BOOTSTRAP_SERVERS": "kafka.bootstrap_servers",
    f"{PREFIX}ROLE": "role",
}
"""Variables that have a name of their own, and the keys that they set."""


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings, and where each value came from: dotted key (or that of a table that was given whole) → file or
    environment variable."""

    settings: Settings
    origins: Mapping[str, str]

    def origin(self, key: str) -> str:
        """The file or the environment variable that a value came from, or `default`."""
        return _origin(self.origins, key)


def load_settings(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from defaults, then `file` (or `$SIDESTREAM_SETTINGS`), then the environment."""
    return read_settings(file, environment).settings


def read_settings(file: Path | None = None, environment: Mapping[str, str] = os.environ) -> LoadedSettings:
    """`load_settings`, with the origin of each value."""
    named = file or (Path(environment[f"{PREFIX}SETTINGS"]) if environment.get(f"{PREFIX}SETTINGS") else None)
    tree = _read(named) if named is not None else {}
    origins = dict.fromkeys(_leaves(tree), str(named))
    for name, text in environment.items():
        if name.startswith(PREFIX) and "__" in name:
            path = name[len(PREFIX) :].lower().split("__")
            value = _value(text)
            if KEYS.get(".".join(path)) is str and not isinstance(value, str):
                value = text  # a password of digits stays text
            _put(tree, origins, path, value, name)
    for name, key in _PLAIN.items():
        if environment.get(name):
            _put(tree, origins, key.split("."), environment[name], name)
    return LoadedSettings(_checked(tree, origins), origins)


def settings_from(tree: Mapping[str, Any]) -> Settings:
    """Checked settings from nested tables."""
    return _checked(tree, dict.fromkeys(_leaves(tree), "settings"))


def _checked(tree: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    problems = problems_of(tree, lambda key: _origin(origins, key))
    if problems:
        raise SettingsError(*problems)
    return msgspec.convert(tree, Settings)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SettingsError(f"no settings file {file}: give one that exists, or none for the defaults") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None


def _leaves(tree: Mapping[str, Any], above: str = "") -> list[str]:
    """Dotted keys of all values; a table without keys is one."""
    found = []
    for name, value in tree.items():
        inside = f"{above}{name}" not in KEYS and isinstance(value, Mapping) and value
        found += _leaves(value, f"{above}{name}.") if inside else [f"{above}{name}"]
    return found


def _origin(origins: Mapping[str, str], key: str) -> str:
    """Of the key, or of what is above it, or (for a table) of what is below it."""
    below = next((origin for name, origin in origins.items() if name.startswith(f"{key}.")), DEFAULT)
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return below


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: dict[str, Any], origins: dict[str, str], path: list[str], value: Any, name: str) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{name}: `{key}` is a value, not a table")
    tree[path[-1]] = value
    dotted = ".".join(path)
    for below in [key for key in origins if key.startswith(f"{dotted}.")]:
        del origins[below]
    origins[dotted] = name
