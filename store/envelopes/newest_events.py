"""Newest events: what the records of `uploads` and `profiles` come to, item by item and user by user.

Invariant: of what was taken down, or forgotten, nothing is left, whichever way the log was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from store.envelopes.reading import EventReader
from store.events import Profile, Upload
from store.log import LogRecord
from store.topics import PROFILES, UPLOADS


def forgotten(records: Iterable[LogRecord], reader: EventReader = EventReader()) -> dict[str, int]:
    """user_id → timestamp (ms) of the newest request to forget the user, from records of `profiles`."""
    told = ((reader.removed(PROFILES, record.key, record.value), record.came_at_ms) for record in records)
    return {user_id: at_ms for user_id, at_ms in told if isinstance(user_id, str)}


def uploads(records: Iterable[LogRecord], *, now: float, reader: EventReader = EventReader()) -> dict[str, Upload]:
    """item_id → the newest upload of every item that was not taken down since."""
    found: dict[str, Upload] = {}
    for item_id, upload in _uploads_and_take_downs(records, now, reader):
        if upload is None:
            found.pop(item_id, None)
        else:
            found[item_id] = upload
    return found


def uploaded_ids(records: Iterable[LogRecord], *, now: float, reader: EventReader = EventReader()) -> set[str]:
    """The ids of these items alone: a tenth of the memory."""
    found: set[str] = set()
    for item_id, upload in _uploads_and_take_downs(records, now, reader):
        (found.discard if upload is None else found.add)(item_id)
    return found


def _uploads_and_take_downs(
    records: Iterable[LogRecord], now: float, reader: EventReader
) -> Iterator[tuple[str, Upload | None]]:
    """Each upload that records of `uploads` hold, under its item's id, and None for each take-down."""
    for record in records:
        if isinstance(item_id := reader.removed(UPLOADS, record.key, record.value), str):
            yield item_id, None
        elif record.value is not None:
            for event in reader.uploads(record.value, now=now).events:
                yield event.item_id, event


def profiles(
    records: Iterable[LogRecord],
    *,
    now: float,
    reader: EventReader = EventReader(),
    forget: Mapping[str, int] | None = None,
) -> dict[str, Profile]:
    """user_id → the newest profile of every user that was not forgotten since."""
    forget = forget or {}
    found: dict[str, Profile] = {}
    for record in records:
        if isinstance(user_id := reader.removed(PROFILES, record.key, record.value), str):
            found.pop(user_id, None)
        elif record.value is not None:
            for event in reader.profiles(record.value, now=now).events:
                if record.came_at_ms > forget.get(event.user_id, -1):
                    found[event.user_id] = event
    return found
