"""Writing: settings as a TOML file that reads back equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from store.settings.tables import Settings


def to_toml(settings: Settings) -> str:
    """The settings as a file that `load_settings` reads back."""
    lines: list[str] = []
    _write_table(lines, "", msgspec.to_builtins(settings))
    return "\n".join(lines) + "\n"


def _write_table(lines: list[str], name: str, table: Mapping[str, Any]) -> None:
    if name:
        lines.append(f"\n[{name}]")
    # Tables come after the values, or these would belong to them.
    values = [(key, value) for key, value in table.items() if not isinstance(value, dict)]
    lines += [f"{_toml(key)} = {_toml(value)}" for key, value in values if value is not None]  # what is not given
    for key, value in table.items():
        if isinstance(value, dict):
            _write_table(lines, f"{name}.{key}" if name else key, value)


def _toml(scalar: Any) -> str:
    """A JSON scalar is a TOML value too, but for what TOML will not have escaped in pairs, DEL and the infinities."""
    if isinstance(scalar, float):
        return repr(scalar)
    return json.dumps(scalar, ensure_ascii=False).replace("\x7f", "\\u007f")
