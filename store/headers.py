"""Headers: what records of the log say beside their key and value, as whole numbers in decimal digits but for one.

`UPLOAD_OFFSET` stands on take-downs in `semantic-ids`: the offset of the take-down in `uploads`, as a card has that
of its upload. `CAME_AT` stands on what is published again from elsewhere on the log (an event moved to its own
partition, a dead letter): the timestamp of the record in which it first came. It can only make a record older.
`CANARY_AT` stands on what tells scorers that a canary has come so far, with the timestamp of its own record: on null
values in `semantic-ids`, on positions in `item-states`. `TRACEPARENT` is the W3C's: the trace that an event is part of,
and the span that comes before (`stream.tracing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

UPLOAD_OFFSET = "upload_offset"
CAME_AT = "came_at_ms"
CANARY_AT = "canary_at_ms"
TRACEPARENT = "traceparent"

Headers = Iterable[tuple[str, bytes]]

MOST_DIGITS: Final = 14
"""Of a number that anything here counts: what has more is not ours."""


def number_in(headers: Headers, name: str, otherwise: int) -> int:
    """The number under `name`; `otherwise` where there is none, or none that can be read."""
    for found, value in headers:
        if found == name and value and len(value) <= MOST_DIGITS and value.isdigit():  # clients may send None
            return int(value)
    return otherwise


def bytes_in(headers: Headers, name: str) -> bytes:
    """What stands under `name` first, as it is; empty where nothing does."""
    for found, value in headers:
        if found == name:
            return value or b""
    return b""


def numbered(**numbers: int) -> list[tuple[str, bytes]]:
    """Headers of these numbers."""
    return [(name, str(number).encode()) for name, number in numbers.items()]


def came_at_ms(timestamp_ms: int, headers: Headers) -> int:
    """When the broker first had what a record holds (epoch milliseconds)."""
    return min(timestamp_ms, number_in(headers, CAME_AT, timestamp_ms)) if headers else timestamp_ms
