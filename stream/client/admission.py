"""Admission: an event checked before it is sent, by the very rules that the workers will check it by.

Invariant: what `admit` returns is accepted by `store.events` within the same limits; what it refuses was never sent.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

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
)
from store.topics import ENGAGEMENTS, KEY_FIELDS, PROFILES, TIME_FIELDS, UPLOADS, EventTopic

Event = Upload | Engagement | Profile | Mapping[str, Any] | bytes | str
"""What may be published: a struct, a mapping of its fields (unknown ones are kept), or its JSON."""

_DECODERS: Mapping[str, Callable[..., Decoded[Any]]] = {
    UPLOADS: decode_uploads,
    ENGAGEMENTS: decode_engagements,
    PROFILES: decode_profiles,
}
_NAMED = re.compile(r"at `\$\.([^`]+)`|required field `(\w+)`|^(time|value|\w+_id|features\.\S+) ")


class InvalidEventError(ValueError):
    """The event would be refused: mend `field` as the message says, then publish it again. Nothing was sent."""

    def __init__(self, topic: EventTopic, refusal: Refusal) -> None:
        found = _NAMED.search(refusal.detail)
        named = next((part for part in found.groups() if part), "") if found else ""
        self.field = TIME_FIELDS[topic] if named == "time" else named
        self.reason = refusal.reason
        self.remedy = refusal.detail
        super().__init__(f"{self.field + ': ' if self.field else ''}{refusal.reason}: {refusal.detail}")


def admit(topic: EventTopic, event: Event, limits: Limits) -> tuple[str, bytes]:
    """The key and the JSON of one event; JSON given is kept as it is. Raises `InvalidEventError`."""
    value, decoded = judged(topic, event, limits, time.time())
    return getattr(decoded.events[0], KEY_FIELDS[topic]), value


def judged(topic: EventTopic, event: Event, limits: Limits, now: float) -> tuple[bytes, Decoded[Any]]:
    """The JSON of one event, and what workers make of it at `now` (epoch seconds): one event. Raises
    `InvalidEventError` where they would refuse it."""
    value = event.encode() if isinstance(event, str) else event
    if not isinstance(value, bytes):
        value = _encode(topic, value)
    decoded = _DECODERS[topic](value, now=now, limits=limits)
    if decoded.refusals:
        raise InvalidEventError(topic, decoded.refusals[0])
    if decoded.raw is None or len(decoded.events) != 1:
        detail = f"{len(decoded.events)} events in one: publish them one by one, framing is done for you"
        raise InvalidEventError(topic, Refusal("not_an_event", detail, value))
    return value, decoded


def admit_key(topic: EventTopic, key: str) -> str:
    """The key of a tombstone, if an event could have it. Raises `InvalidEventError`."""
    if not key or len(key) > 256 or key[0] <= " " or not _is_text(key):
        detail = (
            f"{KEY_FIELDS[topic]} {key[:40]!r} is no id: 1 to 256 characters of UTF-8 that begin with a printable one"
        )
        raise InvalidEventError(topic, Refusal("wrong_type", detail, key.encode(errors="backslashreplace")))
    return key


def _is_text(text: str) -> bool:
    """Whether it can be written in UTF-8: bytes that are none arrive from a command line as half characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode(topic: EventTopic, event: Upload | Engagement | Profile | Mapping[str, Any]) -> bytes:
    """JSON of an event. Python's own encoder writes NaN as NaN, which is then refused by name, not turned to null."""
    plain = msgspec.to_builtins(event) if isinstance(event, msgspec.Struct) else event
    try:
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        detail = f"{error}: use strings, numbers, lists and objects"
        raise InvalidEventError(topic, Refusal("wrong_type", detail, repr(event).encode())) from None
