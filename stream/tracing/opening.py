"""Opening the way to a collector as the settings say, or saying what is missing for it.

Invariant: what the headers hold stands in no message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from store.settings import SettingsError, Tracing

if TYPE_CHECKING:
    from stream.tracing.export import Export

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")


def open_export(tracing: Tracing, counted: Callable[[str, int], None] = lambda *_: None) -> Export | None:
    """The way to the collector; None where there is to be none. Raises `SettingsError`."""
    check(tracing)
    if not tracing.endpoint:
        return None
    from stream.tracing.export import Export

    return Export(tracing, headers_in(tracing.headers_file), counted)


def check(tracing: Tracing) -> None:
    """Raises `SettingsError` for what `open_export` would miss: before anything else is begun."""
    if not tracing.endpoint:
        return
    try:
        import stream.tracing.export  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"tracing.endpoint is given, and OpenTelemetry is not installed (no module {error.name}): "
            "pip install 'sidestream[otel]', or leave tracing.endpoint empty"
        ) from None
    if tracing.ca_file and not Path(tracing.ca_file).is_file():
        raise SettingsError(f"tracing.ca_file = {tracing.ca_file}: no such file")
    headers_in(tracing.headers_file)


def headers_in(file: str) -> dict[str, str]:
    """Name → value of each line; empty lines, and those that begin with #, say nothing. Raises `SettingsError`."""
    if not file:
        return {}
    try:
        lines = Path(file).read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise SettingsError(f"tracing.headers_file = {file} cannot be read: {error.strerror}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        header = _HEADER.fullmatch(line)
        if header is None:
            raise SettingsError(f"tracing.headers_file = {file}: line {number} is no header: write `name: value`")
        found[header[1]] = header[2]
    return found
