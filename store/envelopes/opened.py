"""What an envelope was found to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One of three: `fields` of an event (or its JSON as it was, `value`), the id that is `removed`, or a `fault`:
    (reason, detail). `place` says where in which envelope the event lay, for a person who mends it."""

    place: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    value: bytes = b""
    removed: str | None = None
    fault: tuple[str, str] | None = None
