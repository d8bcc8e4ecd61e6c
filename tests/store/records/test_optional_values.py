"""Optional values: what is mended, and what is beyond it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import Profile, Upload
from store.records.optional_values import mended

VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.none() | st.text(max_size=2))
NAMES = [name for name in Upload.__struct_fields__ if name not in ("item_id", "uploaded_at")]


@pytest.mark.parametrize(
    "raw", [b"[]", b"null", b"{", b"\xff", b"[" * 50_000, b"{}", b'{"item_id": 5, "uploaded_at": 1}']
)
def test_what_is_no_event_stays_none(raw: bytes) -> None:
    assert mended(raw, Upload) is None


@given(st.dictionaries(st.sampled_from([*NAMES, "unknown"]), VALUES))
def test_whatever_its_optional_values_are_an_event_is_one(fields: dict[str, object]) -> None:
    found = mended(msgspec.json.encode({**fields, "item_id": "i", "uploaded_at": 1.5}), Upload)
    assert found is not None
    event, dropped = found
    assert (event.item_id, event.uploaded_at) == ("i", 1.5)
    assert set(dropped) <= set(NAMES)
    assert all(fields[name] is not None for name in dropped)


def test_what_is_right_beside_what_is_wrong_stays() -> None:
    raw = b'{"user_id": "u", "updated_at": 2, "attributes": {"a": "x", "b": [1], "c": null, "d": 7}}'
    assert mended(raw, Profile) == (Profile(user_id="u", updated_at=2.0, attributes={"a": "x", "d": 7}), ["attributes"])
