"""CloudEvents: what `data` holds, completed by the envelope's time and id where these are missing."""

from __future__ import annotations

from typing import Any

import pytest

from store.envelopes.cloud_events import open_cloud_event
from store.envelopes.opened import Opened
from store.topics import ENGAGEMENTS, UPLOADS, EventTopic

ATTRIBUTES = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "shop.act", "time": "2026-01-02T03:04:05Z"}


def opened(fields: dict[str, Any], topic: EventTopic = ENGAGEMENTS) -> Opened:
    found = open_cloud_event({**ATTRIBUTES, **fields}, topic)
    assert found is not None
    return found


def test_time_and_id_of_the_envelope_fill_in_what_is_missing() -> None:
    assert opened({"data": {"user_id": "u"}}).fields == {
        "user_id": "u",
        "occurred_at": 1767323045.0,
        "event_id": "/shop#7",
    }
    own = {"occurred_at": 5, "event_id": "own"}
    assert opened({"data": own}).fields == own
    assert opened({"data": {}}, UPLOADS).fields == {"uploaded_at": 1767323045.0}


def test_an_id_is_unique_together_with_its_source_and_fits() -> None:
    ids = [
        opened({"data": {}, "source": source, "id": "1"}).fields["event_id"]
        for source in ("/a", "/b", "x" * 300, "y" * 300, " x")
    ]
    assert len(set(ids)) == 5
    assert all(len(each) <= 256 and each[0] > " " for each in ids)


@pytest.mark.parametrize(
    ("fields", "reason", "place"),
    [
        ({}, "missing_field", "data of"),
        ({"data": None}, "missing_field", "data of"),
        ({"data": "<a/>"}, "not_an_event", "data of"),
        ({"data": [1]}, "not_an_event", "data of"),
        ({"data_base64": "e30"}, "wrong_type", "data_base64 of"),
        ({"data_base64": 5}, "wrong_type", "data_base64 of"),
        ({"data_base64": "W10="}, "not_an_event", "data_base64 of"),
        ({"data": {}, "specversion": "0.3"}, "not_an_event", "specversion of"),
        ({"data": {}, "time": "2026-01-02T03:04:05"}, "wrong_type", "time of"),
        ({"data": {}, "time": 5}, "wrong_type", "time of"),
    ],
)
def test_what_is_wrong_with_an_envelope_is_named(fields: dict[str, Any], reason: str, place: str) -> None:
    found = opened(fields)
    assert found.fault is not None
    assert (found.fault[0], found.place.startswith(place)) == (reason, True)


def test_other_objects_are_no_cloud_events() -> None:
    assert open_cloud_event({"data": {}}, UPLOADS) is None
    assert open_cloud_event({"specversion": "1.0", "data": {}}, UPLOADS) is None
    assert opened({"data_base64": "AAE="}).value == b"\0\1"
