"""An event is the same in every envelope; what is wrong in one is told with its place, and the envelope kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.envelopes.reading import EventReader, columns_of_rows, event_reader
from store.events import KINDS, Limits, Refusal, decode_engagements, decode_profiles, decode_uploads
from store.records.frames import frame
from store.settings import Kafka, Settings, settings_from
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS
from tests.store.envelopes.wrapped import WRAPS, change, cloud_event, cloud_event_base64, json

NOW = 1.8e9
READER = EventReader()
LETTERS = 'aZ09ü😀 "\\/{}[],:\n\0'
IDS = st.text(LETTERS, min_size=1, max_size=12).filter(lambda text: text[0] > " ")
TIMES = st.floats(1e6, 9e9)
TEXTS = st.none() | st.text(LETTERS, max_size=12)
NUMBERS = st.none() | st.floats(-1e9, 1e9) | st.integers(-(2**70), 2**70)
UPLOAD = st.fixed_dictionaries(
    {"item_id": IDS, "uploaded_at": TIMES},
    optional={
        "title": TEXTS,
        "tags": st.lists(st.text(LETTERS, max_size=5), max_size=3),
        "duration_s": NUMBERS,
        "features": st.dictionaries(st.sampled_from(["visual", "x"]), st.lists(st.floats(-9, 9), max_size=3)),
    },
)
ENGAGEMENT = st.fixed_dictionaries(
    {"event_id": IDS, "user_id": IDS, "item_id": IDS, "kind": st.sampled_from([*KINDS, "nod"]), "occurred_at": TIMES},
    optional={"value": NUMBERS, "query": TEXTS, "device": TEXTS},
)
PROFILE = st.fixed_dictionaries(
    {"user_id": IDS, "updated_at": TIMES},
    optional={"attributes": st.dictionaries(st.text("ab", max_size=2), TEXTS | st.floats(-9, 9), max_size=3)},
)
READ = {
    UPLOADS: (decode_uploads, READER.uploads, UPLOAD),
    ENGAGEMENTS: (decode_engagements, READER.engagements, ENGAGEMENT),
    PROFILES: (decode_profiles, READER.profiles, PROFILE),
}


@pytest.mark.parametrize("topic", READ)
@settings(max_examples=30)
@given(data=st.data())
def test_an_event_is_the_same_in_every_envelope(topic: str, data: st.DataObject) -> None:
    decode, read, events = READ[topic]
    fields = data.draw(events)
    plain = decode(json_of(fields), now=NOW, limits=Limits())
    assert read(json_of(fields), now=NOW) == plain
    for name, wrap in WRAPS.items():
        value = wrap(fields)
        found = read(value, now=NOW)
        assert found.events == plain.events, name
        assert sorted(found.dropped) == sorted(plain.dropped), name
        assert [each.reason for each in found.refusals] == [each.reason for each in plain.refusals], name
        assert all(each.event == value for each in found.refusals), name
        assert [decode(raw, now=NOW, limits=Limits()).events for raw in found.raw or []] == [[e] for e in plain.events]


def json_of(fields: Any) -> bytes:
    return json(fields)


@pytest.mark.parametrize(
    ("value", "reason", "said"),
    [
        (cloud_event({"user_id": "u"}), "missing_field", "in data of a CloudEvent: Object missing required field"),
        (cloud_event({"user_id": "u", "item_id": "i", "kind": "nod", "occurred_at": 1}), "unknown_kind", "$.kind"),
        (change({"user_id": "u", "item_id": "i"}), "missing_field", "in after of a Debezium envelope: Object missing"),
        (change(None), "missing_field", "in after of a Debezium envelope: op c has no row"),
        (change(None, "t"), "not_an_event", "in after of a Debezium envelope: op 't' is no change of a row"),
        (change(None, "d", {"event_id": "e"}), "not_an_event", "row of an engagement was deleted"),
        (b'{"user_id":"u"}', "missing_field", "Object missing required field `event_id`"),
        (b"{", "not_json", "send one JSON object"),
        (b"[1]", "not_an_event", "Expected `object`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(value: bytes, reason: str, said: str) -> None:
    decoded = READER.engagements(value, now=NOW)
    assert [(each.reason, each.event) for each in decoded.refusals] == [(reason, value)]
    assert said in decoded.refusals[0].detail
    assert not decoded.events


def test_an_event_that_is_plain_is_never_taken_for_an_envelope() -> None:
    fields = {
        "item_id": "i",
        "uploaded_at": 1.0,
        "specversion": "1.0",
        "type": "x",
        "data": {},
        "op": "d",
        "before": {},
    }
    decoded = READER.uploads(json(fields), now=NOW)
    assert (decoded.events[0].item_id, decoded.removed) == ("i", None)


def test_an_envelope_is_a_record_of_its_own_and_no_larger_than_any() -> None:
    whole = change({"item_id": "i", "uploaded_at": 1e9})
    assert len(READER.uploads(frame([whole, whole]), now=NOW).refusals) == 2
    (refusal,) = EventReader(Limits(max_record_bytes=50)).uploads(whole, now=NOW).refusals
    assert refusal.reason == "oversized"


def test_a_deleted_row_takes_its_item_or_user_away() -> None:
    gone = change(None, "d", {"item_id": "i"})
    assert READER.uploads(gone, now=NOW).removed == READER.removed(UPLOADS, b"k", gone) == "i"
    assert READER.removed(UPLOADS, b"k", change({"item_id": "i"})) is None
    assert READER.profiles(change(None, "d", {"user_id": "u"}), now=NOW).removed == "u"
    assert READER.removed(ENGAGEMENTS, b"k", change(None, "d", {"user_id": "u"})) is None


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (b"i1", "i1"),
        (b'{"item_id":"i1"}', "i1"),
        (b'{"item_id":17}', "17"),
        (b'{"schema":{"type":"struct"},"payload":{"item_id":"i1"}}', "i1"),
        (b"{i1}", "{i1}"),
    ],
)
def test_the_key_of_a_row_names_what_its_tombstone_removes(key: bytes, found: str) -> None:
    assert READER.removed(UPLOADS, key, None) == READER.removed_by_key(UPLOADS, key) == found


def test_a_key_without_the_id_removes_nothing() -> None:
    refusal = READER.removed_by_key(UPLOADS, b'{"id":1}')
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, "without the id" in refusal.detail) == ("missing_field", True)
    assert isinstance(READER.removed(UPLOADS, None, None), Refusal)


def test_the_settings_name_the_columns() -> None:
    envelopes = {
        "uploads": {"item_id": "sku", "uploaded_at": "__ts_ms", "features.visual": "embedding"},
        "engagements": {"kind": "__table"},
        "kinds": {"items": "purchase"},
    }
    reader = event_reader(settings_from({"kafka": {"envelopes": envelopes}}))
    (upload,) = reader.uploads(change({"sku": 4, "embedding": "[1, 2]", "name": "x"}), now=NOW).events
    assert (upload.item_id, upload.uploaded_at, upload.features) == ("4", 5.0, {"visual": [1.0, 2.0]})
    assert reader.uploads(change(None, "d", {"sku": 4}), now=NOW).removed == "4"
    assert reader.removed_by_key(UPLOADS, b'{"sku":4}') == "4"
    bought = {"user_id": 1, "item_id": 4, "occurred_at": 1_767_323_045_000}
    (engagement,) = reader.engagements(change(bought), now=NOW).events
    assert (engagement.kind, engagement.occurred_at, len(engagement.event_id)) == ("purchase", 1_767_323_045.0, 24)
    assert set(columns_of_rows(Kafka())) == {UPLOADS, ENGAGEMENTS, PROFILES}
    assert event_reader(Settings()).uploads(b"{", now=NOW).refusals


def test_whom_a_record_is_about_is_known_whatever_is_wrong_with_it() -> None:
    row = {"user_id": "u", "occurred_at": "soon"}
    for value in [json(row), *(wrap(row) for wrap in WRAPS.values() if wrap is not cloud_event_base64)]:
        assert READER.user_in(ENGAGEMENTS, value) == "u"
    assert READER.user_in(ENGAGEMENTS, change(None, "d", {"user_id": 5})) == "5"
    assert READER.user_in(ENGAGEMENTS, b"{") == READER.user_in(ENGAGEMENTS, json({"payload": 1})) == ""


def test_whole_numbers_of_any_size_are_no_reason_to_fail() -> None:
    value = b'{"specversion":"1.0","type":"x","data":{"item_id":"i","uploaded_at":1,"title":%d}}' % 10**30
    (event,) = READER.uploads(value, now=NOW).events
    assert (event.item_id, event.title) == ("i", None)
    assert msgspec.json.encode(event)
