"""Moments: times as exports have them (ISO 8601, epoch seconds to nanoseconds, Parquet's), as UTC epoch seconds.

Invariant: a time that could be several moments is refused, unless whoever asks says which: the unit, or the zone.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

from store.records.foreign import TIMES_END_S


class AmbiguousTimeError(ValueError):
    """The text is no moment, or could be several: the message says how to write it."""


Unit = Literal["auto", "s", "ms", "us", "ns"]
PER_S: dict[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True, slots=True)
class Clock:
    """How a file tells the time. `unit` of its numbers: `auto` goes by their size, which tells every time after April
    1970; `zone` of times that name none (empty: they are refused), an IANA name."""

    unit: Unit = "auto"
    zone: str = ""

    def moment(self, value: object) -> float:
        """Epoch seconds. Raises `AmbiguousTimeError`."""
        if isinstance(value, str):
            return self._of_text(value.strip())
        if isinstance(value, datetime):
            return self._zoned(value, str(value)).timestamp()
        if isinstance(value, date):
            return self._zoned(datetime.combine(value, time()), str(value)).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return value / PER_S[self.unit if self.unit != "auto" else unit_of(value)]
        raise AmbiguousTimeError(f"{value!r:.40} is no time: write epoch seconds, or ISO 8601 with its zone")

    def _of_text(self, text: str) -> float:
        with suppress(ValueError):
            return self.moment(float(text))
        for name in (" UTC", " GMT"):
            text = text.removesuffix(name) + "+00:00" if text.endswith(name) else text
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            how = "write epoch seconds such as 1767323045, or ISO 8601 such as 2026-01-02T03:04:05Z"
            raise AmbiguousTimeError(f"{text[:40]!r} is no time: {how}") from None
        return self._zoned(found, text).timestamp()

    def _zoned(self, found: datetime, text: str) -> datetime:
        if found.tzinfo is not None:
            return found
        if not self.zone:
            raise AmbiguousTimeError(f"{text[:40]!r} does not say its time zone: name it once, --zone UTC")
        return found.replace(tzinfo=UTC if self.zone == "UTC" else ZoneInfo(self.zone))


def unit_of(number: float) -> str:
    """The unit of an epoch time by its size: seconds up to the year 2286, and so on."""
    for unit, per_s in PER_S.items():
        if abs(number) < TIMES_END_S * per_s:
            return unit
    return "ns"
