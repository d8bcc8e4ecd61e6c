"""Headers of records: numbers that anybody may have written."""

from __future__ import annotations

import pytest

from store.headers import CAME_AT, TRACEPARENT, bytes_in, came_at_ms, number_in, numbered


def test_a_number_is_found_again() -> None:
    headers = [("other", b"x"), *numbered(came_at_ms=7, upload_offset=0)]
    assert (number_in(headers, CAME_AT, -1), number_in(headers, "upload_offset", -1)) == (7, 0)
    assert number_in(headers, "missing", -1) == -1


@pytest.mark.parametrize("value", [b"", b"-3", b"1.5", b"soon", "٣".encode()])
def test_what_is_no_number_is_passed_over(value: bytes) -> None:
    assert number_in([(CAME_AT, value)], CAME_AT, -1) == -1


def test_a_record_can_only_be_older_than_it_says() -> None:
    assert came_at_ms(50, numbered(came_at_ms=7)) == 7
    assert came_at_ms(50, numbered(came_at_ms=70)) == came_at_ms(50, []) == 50


def test_what_is_no_number_is_found_as_it_is() -> None:
    headers: list[tuple[str, bytes]] = [("other", b"x"), (TRACEPARENT, b"00-a"), (TRACEPARENT, b"00-b")]
    assert (bytes_in(headers, TRACEPARENT), bytes_in(headers, "missing")) == (b"00-a", b"")
    assert bytes_in([(TRACEPARENT, None)], TRACEPARENT) == b"", "clients may send None"  # type: ignore[list-item]
