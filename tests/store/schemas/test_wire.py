"""The wire format: a zero byte and four of an id."""

from __future__ import annotations

import pytest

from store.schemas.wire import SchemaError, is_registered, payload_of, registered, schema_id_of


def test_id_and_payload_are_told_apart() -> None:
    data = registered(258, b"abc")
    assert data == b"\0\0\0\1\2abc"
    assert (schema_id_of(data), payload_of(data)) == (258, b"abc")


def test_what_is_none_is_known() -> None:
    assert [is_registered(data) for data in (None, b"", b"{}", b"\0")] == [False, False, False, True]
    with pytest.raises(SchemaError, match="neither JSON") as refused:
        schema_id_of(b"\0\0\0")
    assert refused.value.reason == "not_json"
