"""Records: when the log first had them, what is sent on from a wrong partition, and a row as it was before."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import Engagement, decode_engagements
from store.histories import HistoryRules, UserRow, absorb
from stream.kafka.records import ReadEngagement, Record, strays_of

RULES = HistoryRules({"click": 1.0})


def record(value: bytes | None, timestamp_ms: int = 5_000, came_at_ms: int = -1) -> Record:
    return Record("engagements", 3, 40, timestamp_ms, b"k", value, lambda: None, came_at_ms)


def event(number: int) -> dict[str, object]:
    fields = {"event_id": f"e{number}", "user_id": f"u{number}", "item_id": "i", "kind": "click", "occurred_at": 1.0}
    return {**fields, "of_a_later_release": number}


@pytest.mark.parametrize(("came_at_ms", "first_ms"), [(-1, 5_000), (0, 0), (4_000, 4_000), (6_000, 5_000)])
def test_a_record_that_was_moved_is_as_old_as_it_was(came_at_ms: int, first_ms: int) -> None:
    assert record(b"", came_at_ms=came_at_ms).first_ms == first_ms


@pytest.mark.parametrize("framed", [False, True])
def test_a_stray_keeps_its_bytes_its_own_key_and_the_time_at_which_it_came(framed: bool) -> None:
    frame = json.dumps({"events": [event(n) for n in range(3)]} if framed else event(0)).encode()
    sent = record(frame, came_at_ms=4_000)._replace(traceparent=b"00-trace")
    decoded = decode_engagements(frame, now=5.0)
    elsewhere = [(2, "u2"), (0, "u0")] if framed else [(0, "u0")]
    strays = strays_of(sent, decoded, elsewhere)
    assert [(one.topic, one.key.decode(), one.came_at_ms) for one in strays] == [
        ("engagements", key, 4_000) for _, key in elsewhere
    ]
    assert [one.traceparent for one in strays] == [b"00-trace"] * len(elsewhere)
    assert [json.loads(one.value or b"") for one in strays] == [event(place) for place, _ in elsewhere]


def test_what_lies_right_is_not_sent_on() -> None:
    frame = json.dumps(event(0)).encode()
    assert strays_of(record(frame), decode_engagements(frame, now=5.0), []) == []


@given(before=st.integers(0, 6), after=st.integers(0, 6))
def test_the_row_before_an_engagement_has_neither_it_nor_what_follows(before: int, after: int) -> None:
    row, read = UserRow(), None
    for number in range(before + 1 + after):
        one = Engagement(event_id=f"e{number}", user_id="u", item_id=f"i{number}", kind="click", occurred_at=1.0)
        held, entries, seen = len(row.entries), row.entries, row.seen
        absorb(row, one, number, 0, RULES)
        if number == before:
            read = ReadEngagement(one, True, row, entries, held, seen)
    assert read is not None
    was = read.row_before()
    assert [entry.item_id for entry in was.entries] == [f"i{number}" for number in range(before)]
    assert len(was.seen_hashes()) == before
    assert len(row.entries) == before + 1 + after, "the row itself is as it is"
