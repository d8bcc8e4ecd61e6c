"""Events: every refusal has its reason, nothing raises, and one bad event does not spoil its frame."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from store.events import (
    REASONS,
    Limits,
    Refusal,
    decode_engagements,
    decode_profiles,
    decode_uploads,
    tombstone_id,
)
from store.records.frames import frame

NOW = 1_000_000.0
GOOD: dict[str, dict[str, Any]] = {
    "uploads": {"item_id": "i1", "uploaded_at": 1.5, "title": "T", "tags": ["a"], "features": {"visual": [0.5, 1]}},
    "engagements": {"event_id": "e1", "user_id": "u1", "item_id": "i1", "kind": "click", "occurred_at": 2, "value": 1},
    "profiles": {"user_id": "u1", "updated_at": 3, "attributes": {"age": "18-24", "height_m": 1.7}},
}
DECODERS = {"uploads": decode_uploads, "engagements": decode_engagements, "profiles": decode_profiles}
LIMITS = Limits(max_record_bytes=2_000_000, widths={"visual": 2})


def decode(topic: str, value: bytes, limits: Limits = LIMITS) -> Any:
    return DECODERS[topic](value, now=NOW, limits=limits)


def good(topic: str, **changes: Any) -> bytes:
    return json.dumps({**GOOD[topic], **changes}).encode()


def without(topic: str, field: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD[topic].items() if name != field}).encode()


def replaced(topic: str, field: str, text: bytes) -> bytes:
    """The good event with `text` as the raw JSON of one field."""
    return good(topic, **{field: "@@"}).replace(b'"@@"', text)


DEEP = b"[" * 5000 + b"]" * 5000

REFUSED: list[tuple[str, str, bytes]] = [
    ("uploads", "not_json", b""),
    ("uploads", "not_json", b"{"),
    ("uploads", "not_json", b"item,1"),
    ("uploads", "not_json", b"\xef\xbb\xbf" + good("uploads")),
    ("uploads", "not_json", good("uploads").decode().encode("utf-16")),
    ("uploads", "not_json", replaced("uploads", "title", b'"\xff"')),
    ("uploads", "not_json", replaced("uploads", "title", b'"\xed\xa0\x80"')),
    ("uploads", "not_json", replaced("uploads", "item_id", b'"\\ud800"')),
    ("uploads", "not_json", replaced("uploads", "item_id", b'"\\ud800x"')),
    ("uploads", "not_json", replaced("uploads", "more", DEEP)),
    ("uploads", "not_json", good("uploads") + b"x"),
    ("uploads", "not_an_event", b"null"),
    ("uploads", "not_an_event", b"[1]"),
    ("uploads", "not_an_event", b'"i1"'),
    ("uploads", "not_an_event", DEEP),
    *[(topic, "missing_field", without(topic, next(iter(fields)))) for topic, fields in GOOD.items()],
    ("uploads", "missing_field", without("uploads", "uploaded_at")),
    ("engagements", "missing_field", without("engagements", "kind")),
    ("uploads", "wrong_type", good("uploads", item_id=1)),
    ("uploads", "wrong_type", good("uploads", item_id="")),
    ("uploads", "wrong_type", good("uploads", item_id="i" * 257)),
    ("uploads", "wrong_type", good("uploads", item_id=" i")),
    ("uploads", "wrong_type", good("uploads", item_id="\x00position")),
    ("uploads", "wrong_type", good("uploads", uploaded_at=True)),
    ("uploads", "wrong_type", good("uploads", uploaded_at="1")),
    ("engagements", "wrong_type", good("engagements", user_id="")),
    ("engagements", "wrong_type", good("engagements", event_id="")),
    ("engagements", "wrong_type", good("engagements", item_id="\n")),
    ("engagements", "wrong_type", good("engagements", kind=3)),
    *[("uploads", "not_finite", replaced("uploads", "uploaded_at", text)) for text in (b"NaN", b"-Infinity", b"1e999")],
    ("uploads", "not_finite", replaced("uploads", "duration_s", b"9" * 5000)),
    ("uploads", "not_finite", replaced("uploads", "features", b'{"other": [1e999]}')),
    ("uploads", "not_finite", replaced("uploads", "features", b'{"other": [NaN]}')),
    ("uploads", "not_finite", replaced("uploads", "unknown", b"NaN")),
    ("engagements", "not_finite", replaced("engagements", "value", b"Infinity")),
    ("engagements", "not_finite", replaced("engagements", "value", b"1e999")),
    ("profiles", "not_finite", replaced("profiles", "attributes", b'{"a": -1e999}')),
    ("engagements", "unknown_kind", good("engagements", kind="stare")),
    ("uploads", "wrong_width", good("uploads", features={"visual": [1.0, 2.0, 3.0]})),
    ("uploads", "wrong_width", good("uploads", features={"audio": []})),
    ("uploads", "future_time", good("uploads", uploaded_at=NOW + LIMITS.max_future_s + 1)),
    ("engagements", "future_time", good("engagements", occurred_at=1e300)),
    ("profiles", "future_time", good("profiles", updated_at=NOW * 1000)),
    ("uploads", "reserved_id", good("uploads", item_id="sidestream.canary.0")),
    ("engagements", "reserved_id", good("engagements", user_id="sidestream.canary.0")),
    ("engagements", "reserved_id", good("engagements", item_id="sidestream.canary.x")),
    ("profiles", "reserved_id", good("profiles", user_id="sidestream.canary.0")),
    ("uploads", "oversized", good("uploads", title="x" * 2_000_001)),
]


def test_every_reason_is_tried() -> None:
    by_schema = {"unknown_schema"}  # tests/store/envelopes/test_reading_by_schema.py
    assert {reason for _, reason, _ in REFUSED} == set(REASONS) - by_schema


@pytest.mark.parametrize(("topic", "reason", "value"), REFUSED)
def test_a_single_event_is_refused_with_its_reason_and_bytes(topic: str, reason: str, value: bytes) -> None:
    decoded = decode(topic, value)
    assert decoded.events == []
    assert [(refusal.reason, refusal.event) for refusal in decoded.refusals] == [(reason, value)]
    assert len(decoded.refusals[0].detail) > 5


@pytest.mark.parametrize(("topic", "reason", "value"), [case for case in REFUSED if case[1] != "oversized"])
def test_a_bad_event_does_not_spoil_its_frame(topic: str, reason: str, value: bytes) -> None:
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        # What has wrong brackets or quotes cannot be told from its neighbours: then the frame is refused whole.
        if value in (b"{", b"", b"item,1") or b"\xfe" in value:
            return
    first, last = good(topic), good(topic, more={"nested": ["]", '"', "\\"]})
    decoded = decode(topic, frame([first, value, last]))
    assert decoded.raw == [first, last]
    assert len(decoded.events) == 2
    assert [(refusal.reason, refusal.event) for refusal in decoded.refusals] == [(reason, value)]


@pytest.mark.parametrize("value", [b"{", b'"', b"]", b"}}"])
def test_a_frame_that_cannot_be_parted_is_refused_whole(value: bytes) -> None:
    whole = frame([good("uploads"), value, good("uploads")])
    decoded = decode("uploads", whole)
    assert decoded.events == []
    assert [(refusal.reason, refusal.event) for refusal in decoded.refusals] == [("not_json", whole)]


def test_an_oversized_frame_is_refused_unread() -> None:
    value = frame([good("uploads")] * 9)
    refusals = decode("uploads", value, Limits(max_record_bytes=len(value) - 1)).refusals
    assert [(refusal.reason, refusal.event) for refusal in refusals] == [("oversized", value)]
    assert len(decode("uploads", value, Limits(max_record_bytes=len(value))).events) == 9


@pytest.mark.parametrize("topic", list(GOOD))
def test_good_events_single_framed_and_spaced(topic: str) -> None:
    one = decode(topic, good(topic, unknown={"kept": [None, "\ud83d\ude00"]}))
    assert one.refusals == []
    assert one.raw == [good(topic, unknown={"kept": [None, "\ud83d\ude00"]})]
    framed = decode(topic, frame([good(topic)] * 3))
    assert framed.events == one.events * 3
    spaced = decode(topic, json.dumps({"sent_by": "x", "events": [GOOD[topic]] * 2}, indent=1).encode())
    assert spaced.events == one.events * 2
    assert spaced.refusals == []
    assert decode(topic, frame([])).events == []


@pytest.mark.parametrize("topic", list(GOOD))
def test_an_event_may_have_a_field_called_events(topic: str) -> None:
    for order in ({**GOOD[topic], "events": []}, {"events": [1], **GOOD[topic]}):
        decoded = decode(topic, json.dumps(order).encode())
        assert len(decoded.events) == 1
        assert decoded.refusals == []


def test_times_up_to_the_bound_are_taken() -> None:
    edge = good("uploads", uploaded_at=NOW + LIMITS.max_future_s)
    assert decode("uploads", edge).refusals == []
    assert decode("uploads", good("uploads", uploaded_at=-1e9)).refusals == []


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "missing_field"),
        (b"", "missing_field"),
        (b"\xff", "wrong_type"),
        (b"\x00position", "wrong_type"),
        (b" i", "wrong_type"),
        (b"i" * 257, "wrong_type"),
    ],
)
def test_a_tombstone_needs_a_key_that_is_an_id(key: bytes | None, reason: str) -> None:
    refusal = tombstone_id(key)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert tombstone_id("ключ".encode()) == "ключ"


odd_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from([*GOOD.values()]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["events", "item_id", "user_id", "kind", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode())


@settings(deadline=None)
@given(st.sampled_from(sorted(DECODERS)), st.binary(max_size=60) | odd_json)
@example("uploads", b'{"events":[\xff]}')
@example("uploads", b'{"events":[' + DEEP + b"]}")
@example("uploads", b'{"events":' + DEEP + b"}")
def test_decoding_never_raises(topic: str, value: bytes) -> None:
    decoded = decode(topic, value)
    assert all(refusal.reason in REASONS for refusal in decoded.refusals)
    assert decoded.raw is None or len(decoded.raw) == len(decoded.events)


no_json = st.sampled_from([b"NaN", b'"\\ud800"', b'"\xff"', b'{"a":1}', b"", b"tru"])


@settings(deadline=None)
@given(st.sampled_from(sorted(DECODERS)), st.lists(odd_json | no_json))
def test_accepted_and_refused_are_all_events_of_the_frame(topic: str, parts: list[bytes]) -> None:
    mixed = [part for pair in zip(parts, [good(topic)] * len(parts), strict=True) for part in pair]
    decoded = decode(topic, frame(mixed))
    assert len(decoded.events) + len(decoded.refusals) == len(mixed)
    assert len(decoded.events) >= len(parts)


@pytest.mark.parametrize("framed", [True, False])
def test_a_time_that_is_ahead_becomes_the_records_own(framed: bool) -> None:
    """One sender's clock must not move event time for all; what is behind stays as it was."""

    def said(name: str, at: float, **fields: object) -> bytes:
        event = msgspec.json.encode({**fields, name: at})
        return frame([event]) if framed else event

    engagement = {"event_id": "e", "user_id": "u", "item_id": "i", "kind": "click"}
    for at, kept in ((NOW + 3600, NOW), (NOW, NOW), (NOW - 9e8, NOW - 9e8)):
        (event,) = decode_engagements(said("occurred_at", at, **engagement), now=NOW).events
        assert event.occurred_at == kept
        (upload,) = decode_uploads(said("uploaded_at", at, item_id="i"), now=NOW).events
        assert upload.uploaded_at == kept
        (profile,) = decode_profiles(said("updated_at", at, user_id="u"), now=NOW).events
        assert profile.updated_at == kept


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize(
    ("topic", "wrong", "left", "dropped"),
    [
        ("uploads", {"tags": None}, {"tags": []}, []),
        ("uploads", {"features": None, "title": None}, {"features": {}, "title": None}, []),
        ("uploads", {"tags": ["a", None]}, {"tags": ["a"]}, []),
        ("uploads", {"features": {"visual": None, "audio": [1.0]}}, {"features": {"audio": [1.0]}}, []),
        ("profiles", {"attributes": None}, {"attributes": {}}, []),
        ("profiles", {"attributes": {"age": None, "city": "Ghent"}}, {"attributes": {"city": "Ghent"}}, []),
        ("uploads", {"tags": "a"}, {"tags": []}, ["tags"]),
        ("uploads", {"tags": [1, "b", 2]}, {"tags": ["b"]}, ["tags"]),
        ("uploads", {"category": ["a", "b"]}, {"category": None}, ["category"]),
        ("uploads", {"duration_s": "12.5", "language": 3}, {"duration_s": None}, ["language", "duration_s"]),
        ("uploads", {"features": {"visual": [True, False]}}, {"features": {}}, ["features"]),
        ("engagements", {"value": False}, {"value": None}, ["value"]),
        ("profiles", {"attributes": {"vip": True, "age": 31}}, {"attributes": {"age": 31}}, ["attributes"]),
        ("profiles", {"attributes": [1, 2]}, {"attributes": {}}, ["attributes"]),
    ],
)
def test_null_means_absent_and_a_wrong_optional_value_costs_itself(
    topic: str, wrong: dict[str, object], left: dict[str, object], dropped: list[str], framed: bool
) -> None:
    value = good(topic, **wrong)
    decoded = decode(topic, frame([good(topic), value]) if framed else value)
    assert decoded.refusals == []
    assert {name: getattr(decoded.events[-1], name) for name in left} == left
    assert decoded.raw is not None
    assert decoded.raw[-1] == value
    assert sorted(decoded.dropped) == sorted(dropped)


def test_a_required_value_is_never_made_up() -> None:
    for name in ("event_id", "user_id", "item_id", "kind", "occurred_at"):
        decoded = decode("engagements", good("engagements", **{name: None, "value": "much"}))
        assert decoded.events == []
        assert decoded.dropped == []


@given(
    st.sampled_from(sorted(DECODERS)),
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "item_id": st.sampled_from(["i", " i", "\x00", "ï", "sidestream.canary.1", "x sidestream.canary.", ""]),
                "user_id": st.sampled_from(["u", "\tu", "sidestream.canary.1"]),
                "event_id": st.sampled_from(["e", "\u2028", "sidestream.canary."]),
                "context_item_id": st.sampled_from([" ", "sidestream.canary.2"]),
                "title": st.sampled_from(['"item_id": " i"', "t"]),
                "uploaded_at": st.sampled_from([NOW + 1, NOW + 1e9, -1.0, 1e308]),
                "occurred_at": st.sampled_from([NOW, NOW + 2, NOW + 1e9]),
                "value": st.sampled_from([None, 1e300, 0]),
                "features": st.sampled_from([{}, {"visual": [1.0]}, {"visual": [0.5, 1.0]}, {"x": []}]),
            },
        ),
        max_size=4,
    ),
    st.booleans(),
    st.booleans(),
)
@example("engagements", [{"item_id": " i"}], False, True)
def test_a_frame_is_taken_as_its_events_are_one_by_one(
    topic: str, changes: list[dict[str, Any]], spaced: bool, escaped: bool
) -> None:
    """The quick look at a whole frame passes nothing that a careful look at each event refuses or changes."""
    parts = [json.dumps({**GOOD[topic], **each}, indent=1 if spaced else None).encode() for each in changes]
    parts = [part.replace(b'"item_id"', b'"item\\u005fid"') if escaped else part for part in parts]
    one_by_one = [decode(topic, part) for part in parts]
    together = decode(topic, frame(parts))
    assert together.events == [event for each in one_by_one for event in each.events]
    assert together.refusals == [refusal for each in one_by_one for refusal in each.refusals]
