"""Times: a moment where there is no doubt, otherwise how to write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.tables.moments import AmbiguousTimeError
from stream.client.times import epoch_of


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_a_moment_with_its_zone_is_itself(wall: datetime, offset_min: int) -> None:
    moment = wall.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    assert epoch_of(moment.isoformat()) == pytest.approx(moment.timestamp(), abs=1e-6)
    assert epoch_of(moment.astimezone(UTC).isoformat().replace("+00:00", "Z")) == pytest.approx(moment.timestamp())


@pytest.mark.parametrize("text", ["2026-01-02", "2026-01-02T03:04:05", "2026-01-02 03:04:05.5"])
def test_without_a_zone_it_is_refused(text: str) -> None:
    with pytest.raises(AmbiguousTimeError, match=r"does not say its time zone.*2026-01-02T03:04:05Z"):
        epoch_of(text)


@pytest.mark.parametrize("text", ["", "yesterday", "02/01/2026", "1767323045x", "nan", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(AmbiguousTimeError, match="is no time: write UTC epoch seconds"):
        epoch_of(text)
