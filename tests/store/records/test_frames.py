"""Frames: each event's bytes are those that were published, whatever its neighbours are."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from store.records.frames import frame, raw_events


def test_raw_events_are_the_bytes_as_published() -> None:
    parts = [json.dumps({"item_id": f"i{n}", "n": n}).encode() for n in range(3)]
    assert raw_events(frame(parts)) == parts
    assert raw_events(b'{"events": [ NaN , {"a": "],"} ]}') == [b" NaN ", b' {"a": "],"} ']
    assert raw_events(parts[0]) == [parts[0]]


@given(st.binary(max_size=300))
@example(b'{"events":[' + b'\\"' * 100 + b"]}")
def test_parts_come_from_the_record(value: bytes) -> None:
    assert all(part in value for part in raw_events(value))
