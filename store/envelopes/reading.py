"""Reading: the events of a record, plain, framed, in an envelope, or written by a schema of a registry's.

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
from store.records.frames import raw_events
from store.schemas.registry import Registry, RegistryError
from store.schemas.wire import SchemaError, is_registered, schema_id_of
from store.settings import Kafka, Settings
from store.tables.mapping import Columns, text_of
from store.topics import ENGAGEMENTS, PROFILES, UPLOADS, EventTopic

Event = TypeVar("Event", Upload, Engagement, Profile)
Decode = Callable[..., Decoded[Event]]


class EventReader:
    """Reads the records of the topics of events. `columns`: how rows of databases become events of each topic;
    `registry`: where the schemas of records are that have one. It raises `RegistryError` for a schema that is neither
    known nor to be had: ask before where that must not be."""

    def __init__(
        self,
        limits: Limits = Limits(),
        columns: Mapping[str, Columns] | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.registry = registry
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
        if is_registered(value):
            try:
                value = self._written_by_schema(value)
            except SchemaError:
                return None
        if b'"op"' not in value:
            return None
        opened = self._open(topic, value)
        return None if opened is None else opened.removed

    def removed_by_key(self, topic: EventTopic, key: bytes | None) -> str | Refusal:
        """The id that a record without a value takes away: its key, or what the key of a row says."""
        if key is not None and is_registered(key) and self.registry is not None:
            try:
                key = self.registry.json_of(key)
                said = msgspec.json.decode(key)
            except (SchemaError, *UNREADABLE) as error:
                reason = error.reason if isinstance(error, SchemaError) else "not_json"
                return Refusal(reason, f"the key is no id: {error}", b"")
            key = key if isinstance(said, dict) else str(said).encode()
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
        if is_registered(value):
            try:
                value = self._written_by_schema(value)
            except (SchemaError, RegistryError):
                return ""
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
        if is_registered(value):
            return self._by_schema(topic, decode, value, now)
        opened = self._open(topic, value)
        if opened is None:
            return decoded
        if opened.fault is not None:
            return Decoded([], [], [_refusal(*opened.fault, opened, value)])
        if opened.removed is not None:
            return Decoded([], [], [], removed=opened.removed)
        try:
            inner = decode(opened.value or _json(opened.fields), now=now, limits=self._limits)
        except RecursionError:  # nested just as deep as can still be read
            return decoded
        refusals = [_refusal(each.reason, each.detail, opened, value) for each in inner.refusals]
        return Decoded(inner.events, inner.raw, refusals, inner.dropped)

    def _by_schema(self, topic: EventTopic, decode: Decode[Event], value: bytes, now: float) -> Decoded[Event]:
        try:
            inner = self._written_by_schema(value)
        except SchemaError as error:
            return Decoded([], [], [Refusal(error.reason, str(error), value)])
        decoded = decode(inner, now=now, limits=self._limits)
        if decoded.refusals:
            decoded = self._opened(topic, decode, inner, decoded, now)
        place = f"schema {schema_id_of(value)}"
        refusals = [Refusal(each.reason, f"{place}: {each.detail}", value) for each in decoded.refusals]
        raw = raw_events(inner) if decoded.raw is None else decoded.raw
        return Decoded(decoded.events, raw, refusals, decoded.dropped, decoded.removed)

    def _written_by_schema(self, value: bytes) -> bytes:
        """The JSON that a record stands for which has a schema. Raises `SchemaError` and `RegistryError`."""
        schema_id = schema_id_of(value)
        if self.registry is None:
            remedy = "name its registry, kafka.registry.url"
            raise SchemaError("unknown_schema", f"it begins as a record of schema {schema_id}: {remedy}")
        return self.registry.json_of(value)

    def _open(self, topic: EventTopic, value: bytes) -> Opened | None:
        fields = _object(value)
        if fields is None:
            return None
        return open_cloud_event(fields, topic) or open_change(fields, self._columns[topic])


_PLACES = ((), ("data",), ("after",), ("before",), ("payload",), ("payload", "after"), ("payload", "before"))
"""Where an event may lie in a record."""


def event_reader(settings: Settings) -> EventReader:
    """The reader of a process."""
    said = settings.kafka.registry
    registry = Registry(said) if said.url else None
    return EventReader(settings.event_limits(), columns_of_rows(settings.kafka), registry)


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


def _json(fields: Any) -> bytes:
    try:
        return msgspec.json.encode(fields)
    except (OverflowError, UnicodeEncodeError):  # a whole number of more than 64 bits
        return json.dumps(fields).encode()


def _refusal(reason: str, detail: str, opened: Opened, value: bytes) -> Refusal:
    return Refusal(reason, f"in {opened.place}: {detail}", value)
