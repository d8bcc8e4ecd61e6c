"""CloudEvents 1.0 in structured JSON: the event is what `data` holds, or `data_base64`.

In binary mode a record's value is the event itself and its attributes are headers: that is a plain event.
https://github.com/cloudevents/spec/blob/main/cloudevents/formats/json-format.md

Invariant: a field of the event that is there is never replaced by an attribute of its envelope.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec

from store.envelopes.opened import Opened
from store.records.foreign import UNREADABLE
from store.topics import ENGAGEMENTS, TIME_FIELDS, EventTopic

DATA, BASE64 = "data", "data_base64"
MOST_ID = 256


def open_cloud_event(fields: Mapping[str, Any], topic: EventTopic) -> Opened | None:
    """What a CloudEvent holds; None where the fields are those of no CloudEvent. An event without a time, or an
    engagement without an id, has those of its envelope."""
    version = fields.get("specversion")
    if version is None or "type" not in fields:
        return None
    if not str(version).startswith("1."):
        return _refused("specversion", "not_an_event", f"{str(version)[:20]!r} is not known: send 1.0")
    if fields.get(DATA) is not None:
        return _completed(DATA, fields[DATA], fields, topic)
    if fields.get(BASE64) is not None:
        return _decoded(fields, topic)
    return _refused(DATA, "missing_field", "there is none: put the event there, or send a null value")


def _decoded(fields: Mapping[str, Any], topic: EventTopic) -> Opened:
    try:
        held = b64decode(fields[BASE64], validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        return _refused(BASE64, "wrong_type", f"{error}: send base64")
    try:
        return _completed(BASE64, msgspec.json.decode(held), fields, topic)
    except UNREADABLE:
        return Opened(place=_place(BASE64), value=held or b" ")  # refused by what it is


def _completed(name: str, data: Any, fields: Mapping[str, Any], topic: EventTopic) -> Opened:
    if not isinstance(data, dict):
        return _refused(name, "not_an_event", f"it holds {type(data).__name__}, not an object: send the event as JSON")
    event = dict(data)
    time_name = TIME_FIELDS[topic]
    if event.get(time_name) is None and (said := fields.get("time")) is not None:
        try:
            event[time_name] = _epoch_s(said)
        except (TypeError, ValueError):
            return _refused("time", "wrong_type", f"{str(said)[:40]!r} is no time with its zone (RFC 3339)")
    if topic == ENGAGEMENTS and event.get("event_id") is None and fields.get("id"):
        event["event_id"] = _identity(fields)
    return Opened(place=_place(name), fields=event)


def _epoch_s(text: str) -> float:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found.timestamp()


def _identity(fields: Mapping[str, Any]) -> str:
    """By the specification `source` and `id` together are unique."""
    whole = f"{fields.get('source', '')}#{fields['id']}"
    if len(whole) <= MOST_ID and whole[0] > " ":
        return whole
    return blake2b(whole.encode(errors="backslashreplace"), digest_size=12).hexdigest()


def _place(name: str) -> str:
    return f"{name} of a CloudEvent"


def _refused(name: str, reason: str, detail: str) -> Opened:
    return Opened(place=_place(name), fault=(reason, detail))
