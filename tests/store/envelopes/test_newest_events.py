"""What is left of uploads and profiles, told plainly or in envelopes."""

from __future__ import annotations

from store.envelopes.newest_events import forgotten, profiles, uploaded_ids, uploads
from store.log import LogRecord
from tests.store.envelopes.wrapped import change, cloud_event, json

NOW = 1.8e9


def said(*values: bytes | None, key: bytes = b"k") -> list[LogRecord]:
    return [LogRecord(0, offset, 10 * offset, key, value) for offset, value in enumerate(values)]


def test_items_in_envelopes_come_and_go() -> None:
    one, two = {"item_id": "i", "uploaded_at": 1e9, "title": "one"}, {"item_id": "j", "uploaded_at": 1e9}
    records = said(json(one), change({**one, "title": "two"}), cloud_event(two), change(None, "d", two), b"{")
    assert {item_id: each.title for item_id, each in uploads(records, now=NOW).items()} == {"i": "two"}
    assert uploaded_ids(records, now=NOW) == {"i"}
    assert uploaded_ids([*records, *said(None, key=b'{"item_id":"i"}')], now=NOW) == set()


def test_users_whose_row_was_deleted_are_forgotten() -> None:
    row = {"user_id": "u", "updated_at": 1e9, "attributes": {"country": "NO"}}
    records = said(change(row), json({**row, "user_id": "v"}), change(None, "d", row), None)
    assert set(profiles(records, now=NOW)) == {"v"}
    assert forgotten(records) == {"u": 20, "k": 30}
    assert set(profiles(records, now=NOW, forget={"v": 10})) == set()
