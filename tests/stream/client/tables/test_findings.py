"""What is found in a file is what would come of it: by the same functions as at the workers."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.events import KINDS, Limits, decode_engagements, decode_profiles, decode_uploads
from store.keys import hash64
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS, EventTopic
from stream.client.admission import InvalidEventError, admit
from stream.client.tables.findings import REPORTED, Findings

GOOD = {"event_id": "e", "user_id": "u", "item_id": "i", "kind": "click", "occurred_at": 1.7e9}
DECODE = {UPLOADS: decode_uploads, ENGAGEMENTS: decode_engagements, PROFILES: decode_profiles}
LIMITS = Limits(max_record_bytes=2000)

values = st.one_of(
    *(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=300)),
    *(st.sampled_from(KINDS), st.floats(1e9, 3e9), st.just(time.time()), st.just("sidestream.canary.x")),
    *(st.lists(st.floats(), max_size=3), st.dictionaries(st.text(max_size=3), st.floats(), max_size=2)),
)
names = (
    *("event_id", "user_id", "item_id", "kind", "occurred_at", "value", "uploaded_at", "title", "tags", "features"),
    *("updated_at", "attributes", "other"),
)
rows = st.one_of(
    st.dictionaries(st.sampled_from(names), values),
    st.builds(lambda fields: {**GOOD, **fields}, st.dictionaries(st.sampled_from(names), values, max_size=2)),
    st.binary(max_size=40),
)


def admitted(topic: EventTopic, event: Any) -> tuple[str, bytes]:
    """Why the publisher refuses an event, or what it sends."""
    try:
        return "", admit(topic, event, LIMITS)[1]
    except InvalidEventError as error:
        return error.reason, b""


@given(topic=st.sampled_from((UPLOADS, ENGAGEMENTS, PROFILES)), event=rows)
def test_the_verdict_is_that_of_the_publisher_and_of_the_worker(topic: EventTopic, event: Any) -> None:
    found = Findings(topic, LIMITS)
    found.judge(1, event)
    assert found.accepted + found.refused == 1
    reason, value = admitted(topic, event)
    assert dict(found.reasons) == ({reason: 1} if reason else {})
    if not reason:
        worker = DECODE[topic](value, now=found.now, limits=LIMITS)
        assert (len(worker.events), worker.refusals) == (found.accepted, [])
        assert found.dropped == Counter(worker.dropped)
    elif isinstance(event, bytes):  # what a foreign client sends as it is, the worker refuses or finds nothing in
        assert not DECODE[topic](event, now=found.now, limits=LIMITS).events or reason == "not_an_event"


def test_ids_that_come_twice_and_items_that_nobody_uploads() -> None:
    found = Findings(ENGAGEMENTS, LIMITS)
    for row, (event_id, user_id, item_id) in enumerate(
        [("e", "u", "i"), ("e", "v", "i"), ("e", "u", "j"), ("f", "u", "k"), ("e", "u", "k")], 1
    ):
        found.judge(row, {**GOOD, "event_id": event_id, "user_id": user_id, "item_id": item_id})
    assert found.repeated() == (2, [3, 5])
    assert found.never_uploaded(np.array([hash64("i")], np.uint64)) == (3, 2, [3, 4, 5])
    assert Findings(ENGAGEMENTS, LIMITS).repeated() == (0, [])
    items = Findings(UPLOADS, LIMITS)
    for row, item_id in enumerate("aba"):
        items.judge(row, {"item_id": item_id, "uploaded_at": 5})
    assert items.repeated() == (1, [2])


def test_clocks_are_told_as_the_events_have_them() -> None:
    found = Findings(ENGAGEMENTS, LIMITS, now=1.7e9)
    for at in (1.7e9 + 3600, 1.7e9 - 5, 1.7e6):
        found.judge(1, msgspec.json.encode({**GOOD, "occurred_at": at}))
    assert (found.earliest, found.latest) == (1.7e6, 1.7e9 + 3600)
    assert (found.ahead, found.most_ahead_s, found.early) == (1, 3600.0, 1)
    found.judge(1, {**GOOD, "occurred_at": 1.7e9 + 90_000})
    assert dict(found.reasons) == {"future_time": 1}


def test_only_the_first_refusals_are_held() -> None:
    found = Findings(ENGAGEMENTS, LIMITS)
    for row in range(REPORTED + 10):
        found.judge(row, {})
    assert (found.refused, len(found.refusals)) == (REPORTED + 10, REPORTED)
