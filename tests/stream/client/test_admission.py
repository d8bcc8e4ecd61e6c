"""Admission: what is admitted is what the workers accept; what they would refuse is named before it is sent."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import Engagement, Limits, decode_engagements, decode_profiles, decode_uploads
from stream.client.admission import InvalidEventError, admit, admit_key

LIMITS = Limits(max_record_bytes=2000)
DECODE = {"uploads": decode_uploads, "engagements": decode_engagements, "profiles": decode_profiles}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None, categories=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["item_id", "user_id", "event_id", "kind", "uploaded_at", "occurred_at", "updated_at", "value"]
)
Topic = Literal["uploads", "engagements", "profiles"]


@given(
    topic=st.sampled_from(["uploads", "engagements", "profiles"]),
    event=st.dictionaries(FIELDS | st.text(max_size=5), JSON, max_size=8)
    | st.binary(max_size=40)
    | st.text(max_size=40),
)
def test_what_is_admitted_is_accepted_and_the_rest_is_refused_by_name(topic: Topic, event: Any) -> None:
    try:
        key, value = admit(topic, event, LIMITS)
    except InvalidEventError as error:
        told = (error.reason, error.remedy)
        assert all(told)
        return
    decoded = DECODE[topic](value, now=1e12, limits=LIMITS)
    assert (len(decoded.events), decoded.refusals) == (1, [])
    assert key in {getattr(decoded.events[0], "item_id", None), getattr(decoded.events[0], "user_id", None)}


def test_unknown_fields_are_kept_and_bytes_are_left_as_they_are() -> None:
    value = b'{"item_id" : "a", "uploaded_at":1, "shelf": 7}'
    assert admit("uploads", value, LIMITS) == ("a", value)
    assert b'"shelf":7' in admit("uploads", {"item_id": "a", "uploaded_at": 1, "shelf": 7}, LIMITS)[1]


def test_the_key_is_the_user_of_an_engagement() -> None:
    act = Engagement(event_id="e", user_id="u", item_id="i", kind="click", occurred_at=5.0)
    assert admit("engagements", act, LIMITS)[0] == "u"


@pytest.mark.parametrize("key", ["", " a", "\ta", "y" * 257, "\udcff"])
def test_what_no_event_could_have_is_no_key(key: str) -> None:
    with pytest.raises(InvalidEventError, match="is no id"):
        admit_key("uploads", key)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=256).filter(lambda text: text[0] > " "))
def test_every_id_of_an_event_is_a_key(key: str) -> None:
    assert admit_key("uploads", key) == admit("uploads", {"item_id": key, "uploaded_at": 1}, LIMITS)[0]
