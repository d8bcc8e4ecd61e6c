"""Events: what applications publish, decoded strictly.

A Kafka record holds one event or a frame `{"events": [...]}`. Every event of a record is either decoded or refused with
a reason; one bad event does not spoil its frame. Unknown fields are ignored here and stay in the log.

A time that is ahead of `now`, no further than the limit allows, is set to `now`.

Invariant: decoding never raises. `decode_*` returns the accepted events and the refusals, and together they are all
events of the record.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

import msgspec

from store.keys import RESERVED, id_fault
from store.records.foreign import UNREADABLE
from store.records.frames import raw_events
from store.records.optional_values import mended

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Kind = Literal[
    "impression",
    "click",
    "watch",
    "like",
    "comment",
    "share",
    "save",
    "follow",
    "purchase",
    "skip",
    "dislike",
    "hide",
]
KINDS: tuple[str, ...] = get_args(Kind)
"""All kinds of engagement; a kind's index is its code in rows and signals, so the order is part of the format."""
KIND_CODES: Mapping[str, int] = {kind: code for code, kind in enumerate(KINDS)}
KindCode = Annotated[int, msgspec.Meta(ge=0, lt=len(KINDS))]

DAY_S = 86_400.0
MOST_FEATURES, MOST_NUMBERS, MOST_NAME = 16, 8192, 64
"""Bounds of an upload's `features`: vectors, numbers in each, characters of a name. They bound an item's card."""


class Upload(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An item as its maker describes it. Times in UTC epoch seconds; `features` are dense vectors made elsewhere."""

    item_id: Id
    uploaded_at: float
    title: str | None = None
    description: str | None = None
    transcript: str | None = None
    tags: list[str] = []
    creator_id: str | None = None
    category: str | None = None
    language: str | None = None
    duration_s: float | None = None
    features: dict[str, list[float]] = {}


class Engagement(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One act of one user on one item. `value` is the watched fraction, rating or price, as `kind` has it."""

    event_id: Id
    user_id: Id
    item_id: Id
    kind: Kind
    occurred_at: float
    value: float | None = None
    task: str | None = None
    query: str | None = None
    context_item_id: str | None = None
    country: str | None = None
    device: str | None = None
    request_id: str | None = None


class Profile(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What is known of a user apart from behaviour."""

    user_id: Id
    updated_at: float
    attributes: dict[str, str | float] = {}


Event = TypeVar("Event", Upload, Engagement, Profile)

REASONS = (
    "not_json",
    "not_an_event",
    "missing_field",
    "wrong_type",
    "not_finite",
    "unknown_kind",
    "wrong_width",
    "future_time",
    "oversized",
    "reserved_id",
    "unknown_schema",
)
"""Every reason a record can be refused for: the bounded label of `sidestream_dead_letters_total`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event that was not accepted: why (one of `REASONS`), what a person needs to mend it, and its bytes."""

    reason: str
    detail: str
    event: bytes


@dataclass(frozen=True, slots=True)
class Decoded(Generic[Event]):
    """What one record held. `raw[i]` is the JSON of `events[i]` as published, unknown fields included. `dropped`: the
    field of each optional value that was wrong and cost itself (`store.records.optional_values`). `removed`: the id
    that the record takes away instead, as an envelope may say (`store.envelopes`)."""

    events: list[Event]
    raw: list[bytes] | None
    refusals: list[Refusal]
    dropped: list[str] = field(default_factory=list)
    removed: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that an event must keep. `widths` names the modalities whose vectors have a fixed width."""

    max_record_bytes: int = 1 << 20
    max_future_s: float = DAY_S
    widths: Mapping[str, int] | None = None


_DOUBTFUL = (b'" ', b'"\\', RESERVED.encode(), b'"features"', b"\\u00")
"""What a record without them cannot hold: an id that begins with white space, an escape or a reserved name, an upload
with vectors, a name that is spelled by escapes. Other JSON than the most compact has the first; it is decoded, too."""


class _Decoder(Generic[Event]):
    """Decodes the records of one topic. The fast way decodes a frame in one call; anything odd takes the slow way,
    event by event, so that a refusal names exactly what it is about."""

    def __init__(self, kind: type[Event], time_name: str) -> None:
        fields = [("events", list[kind])]  # type: ignore[valid-type]
        frame = msgspec.defstruct(f"{kind.__name__}Frame", fields, forbid_unknown_fields=True)
        self._kind: type[Event] = kind
        self._one: msgspec.json.Decoder[Event] = msgspec.json.Decoder(kind)
        self._frame: msgspec.json.Decoder[Any] = msgspec.json.Decoder(frame)
        self._time_name = time_name
        self._time_of: Callable[[Event], float] = attrgetter(time_name)

    def decode(self, value: bytes, *, now: float, limits: Limits) -> Decoded[Event]:
        if len(value) > limits.max_record_bytes:
            detail = f"{len(value)} bytes, more than {limits.max_record_bytes}: publish smaller frames or shorter text"
            return Decoded([], None, [Refusal("oversized", detail, value)])
        if value.startswith(b'{"events"'):
            try:
                events: list[Event] = self._frame.decode(value).events
            except UNREADABLE:
                return self._decode_each(value, now=now, limits=limits)
            if self._are_plain(events, value, now):
                return Decoded(events, None, [])
            if all(_fault(event, self._time_of(event), now, limits) is None for event in events):
                return Decoded(self._not_ahead(events, now), None, [])
        return self._decode_each(value, now=now, limits=limits)

    def _are_plain(self, events: list[Event], value: bytes, now: float) -> bool:
        """Whether one look at the whole frame shows that no event has a fault and no clock is ahead. JSON holds no
        number that is not finite."""
        on_time = max(map(self._time_of, events), default=now) <= now
        return on_time and not any(part in value for part in _DOUBTFUL)

    def _decode_each(self, value: bytes, *, now: float, limits: Limits) -> Decoded[Event]:
        decoded: Decoded[Event] = Decoded([], [], [])
        assert decoded.raw is not None
        for raw in raw_events(value):
            outcome = self._decode_one(raw, decoded.dropped, now=now, limits=limits)
            if isinstance(outcome, Refusal):
                decoded.refusals.append(outcome)
            else:
                decoded.events.extend(self._not_ahead([outcome], now))
                decoded.raw.append(raw)
        return decoded

    def _not_ahead(self, events: list[Event], now: float) -> list[Event]:
        """Nothing happens after it is told of: the clock of a sender that is ahead must move nobody else's."""
        if all(self._time_of(event) <= now for event in events):
            return events
        replace, name = msgspec.structs.replace, self._time_name
        return [replace(event, **{name: min(self._time_of(event), now)}) for event in events]

    def _decode_one(self, raw: bytes, dropped: list[str], *, now: float, limits: Limits) -> Event | Refusal:
        try:
            event = self._one.decode(raw)
        except msgspec.ValidationError as error:
            found = mended(raw, self._kind)
            if found is None:
                return Refusal(_reason_of(str(error)), str(error), raw)
            event = found[0]
            dropped.extend(found[1])
        except UNREADABLE as error:
            return _unreadable(raw, str(error))
        fault = _fault(event, self._time_of(event), now, limits)
        return event if fault is None else Refusal(*fault, raw)


def _reason_of(message: str) -> str:
    if message.startswith("Number out of range"):
        return "not_finite"
    if "missing required field" in message:
        return "missing_field"
    if "at `$.kind`" in message and "Invalid enum value" in message:
        return "unknown_kind"
    if message.startswith("Expected `object`") and "at `$" not in message:
        return "not_an_event"
    return "wrong_type"


def _unreadable(raw: bytes, message: str) -> Refusal:
    """Python's own parser knows NaN and Infinity, which JSON does not have: that tells them from broken JSON."""
    constants: list[str] = []
    try:
        json.loads(raw, parse_constant=constants.append)
    except (ValueError, RecursionError):
        constants = []
    if constants:
        return Refusal("not_finite", f"{constants[0]}: JSON has no NaN or Infinity; leave the field out", raw)
    return Refusal("not_json", f"{message}: send one JSON object, UTF-8", raw)


def _fault(event: Upload | Engagement | Profile, at: float, now: float, limits: Limits) -> tuple[str, str] | None:
    """What a well-typed event can still be refused for: (reason, detail)."""
    if not math.isfinite(at):
        return "not_finite", f"time {at}: send UTC epoch seconds"
    if at > now + limits.max_future_s:
        return "future_time", f"time {at:.0f} is more than {limits.max_future_s:.0f} s ahead: send UTC epoch seconds"
    for name in event.__struct_fields__[:3]:
        if name.endswith("_id") and (fault := id_fault(name, getattr(event, name))) is not None:
            return fault
    if isinstance(event, Upload) and event.features:
        return _feature_fault(event, limits)
    if isinstance(event, Engagement) and event.value is not None and not math.isfinite(event.value):
        return "not_finite", f"value {event.value}: leave the field out"
    return None


def _feature_fault(upload: Upload, limits: Limits) -> tuple[str, str] | None:
    widths = limits.widths or {}
    if len(upload.features) > MOST_FEATURES:
        return (
            "wrong_width",
            f"{len(upload.features)} vectors in features, more than {MOST_FEATURES}: join or drop some",
        )
    for name, vector in upload.features.items():
        if len(vector) > MOST_NUMBERS or len(name) > MOST_NAME:
            bounds = f"{MOST_NUMBERS} numbers under a name of {MOST_NAME} characters"
            return (
                "wrong_width",
                f"features.{name[:MOST_NAME]} has {len(vector)} numbers: at most {bounds}; pool or project",
            )
        want = widths.get(name)
        if want is not None and len(vector) != want:
            return "wrong_width", f"features.{name} has {len(vector)} numbers, not {want} (content.widths.{name})"
        if not vector:
            return "wrong_width", f"features.{name} is empty: leave it out"
        if not all(map(math.isfinite, vector)):
            return "not_finite", f"features.{name} holds a number that is not finite"
    return None


def tombstone_id(key: bytes | None) -> str | Refusal:
    """The id that a record without a value takes down or forgets, by the rules for ids in events."""
    if not key:
        return Refusal("missing_field", "a record without a value and without a key: name what to remove", b"")
    try:
        found = key.decode()
    except UnicodeDecodeError as error:
        return Refusal("wrong_type", f"the key is no id: {error}", b"")
    if len(found) > 256:
        return Refusal("wrong_type", "the key is no id: more than 256 characters", b"")
    fault = id_fault("the key", found)
    return found if fault is None else Refusal(*fault, b"")


_UPLOADS = _Decoder(Upload, "uploaded_at")
_ENGAGEMENTS = _Decoder(Engagement, "occurred_at")
_PROFILES = _Decoder(Profile, "updated_at")


def decode_uploads(value: bytes, *, now: float, limits: Limits = Limits()) -> Decoded[Upload]:
    """All uploads of one record; `now` is wall time in epoch seconds."""
    return _UPLOADS.decode(value, now=now, limits=limits)


def decode_engagements(value: bytes, *, now: float, limits: Limits = Limits()) -> Decoded[Engagement]:
    """All engagements of one record; `now` is wall time in epoch seconds."""
    return _ENGAGEMENTS.decode(value, now=now, limits=limits)


def decode_profiles(value: bytes, *, now: float, limits: Limits = Limits()) -> Decoded[Profile]:
    """All profiles of one record; `now` is wall time in epoch seconds."""
    return _PROFILES.decode(value, now=now, limits=limits)
