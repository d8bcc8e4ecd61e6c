"""Requests to publish rows again, told from whatever else lies on `checkpoints`."""

from __future__ import annotations

import msgspec
import pytest

from store.checkpoints import record_in
from store.records.foreign import ForeignRecordError
from store.records.republish_request import REPUBLISH_KEY, RepublishRequest, request_in


def test_a_request_is_known_by_its_key_and_its_name() -> None:
    asked = RepublishRequest(request="republish-1", requested_at=1.0)
    value = msgspec.json.encode(asked)
    assert request_in(REPUBLISH_KEY, value) == "republish-1"
    assert request_in(b"train", value) == ""
    assert record_in(REPUBLISH_KEY, value) == asked


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"[]", b"{}", b'{"request": "a b", "requested_at": 1}', b'{"request": "", "requested_at": 1}'),
        *(b'{"request": "\xf0\x9f", "requested_at": 1}', b'{"request":' + b"[" * 50_000),
    ],
)
def test_what_is_no_request_asks_for_nothing_and_is_foreign(value: bytes | None) -> None:
    assert request_in(REPUBLISH_KEY, value) == ""
    with pytest.raises(ForeignRecordError):
        record_in(REPUBLISH_KEY, value)
