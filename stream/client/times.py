"""Times as people write them, turned into UTC epoch seconds where there is no doubt which moment is meant."""

from __future__ import annotations

from datetime import datetime

from store.tables.moments import AmbiguousTimeError


def epoch_of(text: str) -> float:
    """The moment of an ISO 8601 time with its zone (`2026-01-02T03:04:05Z`, `…+01:00`), epoch seconds.

    Raises `AmbiguousTimeError`.
    """
    how = "write UTC epoch seconds such as 1767323045, or ISO 8601 with its zone such as 2026-01-02T03:04:05Z"
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise AmbiguousTimeError(f"{text[:40]!r} is no time: {how}") from None
    if found.tzinfo is None:
        raise AmbiguousTimeError(f"{text[:40]!r} does not say its time zone: {how}")
    return found.timestamp()
