"""Times as exports have them: one moment, or refused."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from store.tables.moments import AmbiguousTimeError, Clock, unit_of

AT = 1767323045.0  # 2026-01-02T03:04:05Z


@pytest.mark.parametrize(
    "told",
    [
        *(AT, int(AT), AT * 1e3, AT * 1e6, int(AT) * 10**9, "1767323045", "1767323045000", "2026-01-02T03:04:05Z"),
        *("2026-01-02T04:04:05+01:00", "2026-01-02 03:04:05 UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_time_is_one_moment_however_it_is_written(told: object) -> None:
    assert Clock().moment(told) == AT


@pytest.mark.parametrize("told", ["2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5), date(2026, 1, 2)])
def test_without_a_zone_it_is_refused_until_one_is_named(told: object) -> None:
    with pytest.raises(AmbiguousTimeError, match="--zone UTC"):
        Clock().moment(told)
    assert Clock(zone="UTC").moment(told) in (AT, AT - 3 * 3600 - 4 * 60 - 5)
    assert Clock(zone="Europe/Berlin").moment(told) == Clock(zone="UTC").moment(told) - 3600


@pytest.mark.parametrize("told", ["yesterday", "", "NaN", True, None, float("inf"), [1]])
def test_what_is_no_time_is_refused(told: object) -> None:
    with pytest.raises(AmbiguousTimeError):
        Clock().moment(told)


def test_a_unit_that_is_named_wins_over_the_size() -> None:
    assert Clock("ms").moment(5_000_000_000) == 5_000_000.0  # a day of 1970, which by its size is seconds of 2128
    assert [unit_of(10.0**n) for n in (9, 12, 15, 18, 30)] == ["s", "ms", "us", "ns", "ns"]
