"""Reading: the events of a record, plain, framed, or in an envelope.

Invariant: a record that decodes as plain events costs nothing more here; of one that does not, an envelope is looked
for, and where there is none its refusals stand as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from store.envelopes.change_events import open_change, removed_by_key
from store.envelopes.cloud_events import open_cloud_event
from store.envelopes.opened import Opened
from store.events import (
    Decoded,
    Engagement,
    Limits,
    Profile,
    Refusal,
    Upload,
    decode_engagements,
    decode_profiles,
    decode_uploads,
    tombstone_id,
)
from store.records.foreign import UNREADABLE
from store.settings import Kafka, Settings
from store.tables.mapping import Columns, text_of
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS, EventTopic

Event = TypeVar("Event", Upload, Engagement, Profile)
Decode = Callable[..., Decoded[Event]]


class EventReader:
    """Reads the records of the topics of events. `columns`: how rows of databases become events of each topic."""

    def __init__(self, limits: Limits = Limits(), columns: Mapping[str, Columns] | None = None) -> None:
        self._limits = limits
        topics: tuple[EventTopic, ...] = (UPLOADS, ENGAGEMENTS, PROFILES)
        self._columns = {topic: (columns or {}).get(topic) or Columns(topic=topic) for topic in topics}

    def uploads(self, value: bytes, *, now: float) -> Decoded[Upload]:
        """All uploads of one record; `now` is wall time in epoch seconds."""
        decoded = decode_uploads(value, now=now, limits=self._limits)
        return self._opened(UPLOADS, decode_uploads, value, decoded, now) if decoded.refusals else decoded

    def engagements(self, value: bytes, *, now: float) -> Decoded[Engagement]:
        """All engagements of one record."""
        decoded = decode_engagements(value, now=now, limits=self._limits)
        return self._opened(ENGAGEMENTS, decode_engagements, value, decoded, now) if decoded.refusals else decoded

    def profiles(self, value: bytes, *, now: float) -> Decoded[Profile]:
        """All profiles of one record."""
        decoded = decode_profiles(value, now=now, limits=self._limits)
        return self._opened(PROFILES, decode_profiles, value, decoded, now) if decoded.refusals else decoded

    def removed(self, topic: EventTopic, key: bytes | None, value: bytes | None) -> str | Refusal | None:
        """The id of the item or user that a record takes away: one without a value, or an envelope that says so. None:
        it takes nothing away. A refusal: it is meant to, and cannot."""
        if value is None:
            return self.removed_by_key(topic, key)
        if b'"op"' not in value:
            return None
        opened = self._open(topic, value)
        return None if opened is None else opened.removed

    def removed_by_key(self, topic: EventTopic, key: bytes | None) -> str | Refusal:
        """The id that a record without a value takes away: its key, or what the key of a row says."""
        found = tombstone_id(key)
        if isinstance(found, Refusal) or not found.startswith("{"):
            return found
        row = _object(found.encode())
        if row is None:
            return found
        named = removed_by_key(row, self._columns[topic])
        if not isinstance(named, str):
            return Refusal("missing_field", f"the key {found[:80]} is that of a row, without the id to remove", b"")
        return tombstone_id(named.encode())

    def user_in(self, topic: EventTopic, value: bytes) -> str:
        """Whom a record is about, whatever else is wrong with it; empty where it names nobody."""
        fields, column = _object(value), self._columns[topic].columns.get("user_id", "user_id")
        for place in _PLACES if fields is not None else ():
            row: Any = fields
            for name in place:
                row = row.get(name) if isinstance(row, dict) else None
            if isinstance(row, dict) and isinstance(found := text_of(row.get(column, row.get("user_id"))), str):
                return found
        return ""

    def _opened(
        self, topic: EventTopic, decode: Decode[Event], value: bytes, decoded: Decoded[Event], now: float
    ) -> Decoded[Event]:
        if decoded.events or len(decoded.refusals) > 1 or decoded.refusals[0].reason == "oversized":
            return decoded  # an envelope is a record of its own
        opened = self._open(topic, value)
        if opened is None:
            return decoded
        if opened.fault is not None:
            return Decoded([], [], [_refusal(*opened.fault, opened, value)])
        if opened.removed is not None:
            return Decoded([], [], [], removed=opened.removed)
        inner = decode(opened.value or _json(opened.fields), now=now, limits=self._limits)
        refusals = [_refusal(each.reason, each.detail, opened, value) for each in inner.refusals]
        return Decoded(inner.events, inner.raw, refusals, inner.dropped)

    def _open(self, topic: EventTopic, value: bytes) -> Opened | None:
        fields = _object(value)
        if fields is None:
            return None
        return open_cloud_event(fields, topic) or open_change(fields, self._columns[topic])


_PLACES = ((), ("data",), ("after",), ("before",), ("payload",), ("payload", "after"), ("payload", "before"))
"""Where an event may lie in a record."""


def event_reader(settings: Settings) -> EventReader:
    """The reader of a process."""
    return EventReader(settings.event_limits(), columns_of_rows(settings.kafka))


def columns_of_rows(kafka: Kafka) -> dict[str, Columns]:
    """How rows become events, as the settings say it: by topic."""
    said = kafka.envelopes
    topics: tuple[tuple[EventTopic, Mapping[str, str]], ...] = (
        *((UPLOADS, said.uploads), (ENGAGEMENTS, said.engagements), (PROFILES, said.profiles)),
    )
    return {topic: Columns(topic=topic, columns=columns, kinds=said.kinds) for topic, columns in topics}


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(value)
    except UNREADABLE:
        return None
    return found if isinstance(found, dict) else None


def _json(fields: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(fields)
    except (OverflowError, UnicodeEncodeError):  # a whole number of more than 64 bits
        return json.dumps(fields).encode()


def _refusal(reason: str, detail: str, opened: Opened, value: bytes) -> Refusal:
    return Refusal(reason, f"in {opened.place}: {detail}", value)
