"""Rows of databases: times in every unit that Debezium has, deletions, and what is not said to be a row."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from store.envelopes.change_events import open_change, removed_by_key
from store.envelopes.opened import Opened
from store.tables.mapping import Columns
from store.tables.moments import Clock
from store.topics import ENGAGEMENTS, UPLOADS
from tests.store.envelopes.wrapped import change, connect, schema_of

PLAIN = Columns(topic=UPLOADS)
AT = 1767323045


def opened(value: bytes, columns: Columns = PLAIN) -> Opened | None:
    return open_change(msgspec.json.decode(value), columns)


def time_of(value: Any, kind: str) -> float:
    found = opened(change({"item_id": "i", "uploaded_at": value}, schema=schema_of({"uploaded_at": kind})))
    assert found is not None
    assert found.fault is None, found.fault
    return float(found.fields["uploaded_at"])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (AT, ""),
        (AT * 10**3, ""),
        (AT * 10**6, ""),
        (AT * 10**9, ""),
        (AT * 10**3, "io.debezium.time.Timestamp"),
        (AT * 10**6, "io.debezium.time.MicroTimestamp"),
        (AT * 10**9, "io.debezium.time.NanoTimestamp"),
        (AT * 10**3, "org.apache.kafka.connect.data.Timestamp"),
        ("2026-01-02T03:04:05Z", "io.debezium.time.ZonedTimestamp"),
        ("2026-01-02T04:04:05+01:00", ""),
    ],
)
def test_times_in_every_unit(value: Any, kind: str) -> None:
    assert time_of(value, kind) == AT


def test_a_schema_decides_where_the_size_would_mislead() -> None:
    assert time_of(86_400_000, "io.debezium.time.Timestamp") == 86_400.0
    assert time_of(20_455, "io.debezium.time.Date") == 20_455 * 86_400.0
    assert time_of(20_455, "org.apache.kafka.connect.data.Date") == 20_455 * 86_400.0


@pytest.mark.parametrize("value", [20_455, "2026-01-02T03:04:05", "soon", True])
def test_a_time_that_could_be_several_is_refused_by_its_column(value: Any) -> None:
    found = opened(change({"item_id": "i", "when": value}), Columns(topic=UPLOADS, columns={"uploaded_at": "when"}))
    assert found is not None
    assert found.fault is not None
    assert (found.fault[0], found.fault[1].startswith("column when: ")) == ("wrong_type", True)


@pytest.mark.parametrize("fields", [5, True, None, "x", [5], [{}]])
def test_a_schema_that_is_none_says_nothing(fields: Any) -> None:
    found = open_change({"schema": {"fields": fields}, "payload": {"item_id": "i", "uploaded_at": AT}}, PLAIN)
    assert found is not None
    assert found.fields["uploaded_at"] == AT


def test_a_zone_that_is_said_holds() -> None:
    columns = Columns(topic=UPLOADS, clock=Clock(zone="Europe/Berlin"))
    found = opened(change({"item_id": "i", "uploaded_at": "2026-01-02T04:04:05"}), columns)
    assert found is not None
    assert found.fields["uploaded_at"] == AT


def test_rows_of_connect_are_rows_and_other_payloads_are_not() -> None:
    found = opened(connect({"item_id": 1, "uploaded_at": AT * 1000}))
    assert found is not None
    assert (found.place, found.fields) == ("payload of a Connect record", {"item_id": "1", "uploaded_at": AT})
    gone = opened(connect({"item_id": 1, "uploaded_at": AT * 1000, "__deleted": "true"}))
    assert gone is not None
    assert (gone.removed, gone.fields) == ("1", {})
    assert open_change({"payload": {"item_id": "i"}}, PLAIN) is None
    assert open_change({"schema": {}, "payload": 5}, PLAIN) is None
    assert open_change({"op": "c"}, PLAIN) is None
    assert open_change({"op": 5, "after": {}}, PLAIN) is None


@pytest.mark.parametrize(
    ("before", "fault"),
    [
        (None, "a deleted row without item_id: make it the key"),
        ({"id": 1}, "a deleted row without item_id: make it the key"),
        ({"item_id": ""}, "a deleted row without item_id: make it the key"),
        ({"item_id": " x"}, "white space"),
        ({"item_id": "sidestream.canary.0"}, "use another"),
    ],
)
def test_a_deletion_that_names_no_item_says_what_to_do(before: Any, fault: str) -> None:
    found = opened(change(None, "d", before))
    assert found is not None
    assert found.removed is None
    assert fault in str(found.fault)


def test_an_engagement_is_not_undone_and_keys_are_rows() -> None:
    found = opened(change(None, "d", {"user_id": "u"}), Columns(topic=ENGAGEMENTS))
    assert found is not None
    assert "forget its user" in str(found.fault)
    assert removed_by_key({"payload": {"item_id": 5}}, PLAIN) == "5"
    assert removed_by_key("x", PLAIN) is None
    assert removed_by_key({}, PLAIN) is None
