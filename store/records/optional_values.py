"""Optional values: what is wrong with one costs that one, not the event that it lies in.

Exports from databases and typed languages write null for "nothing", also for lists and maps and in them: that is the
same as leaving it out. Any other value of a wrong type is dropped, and its field named, so that it can be counted.

Invariant: required fields are never touched; what results decodes as its kind, or there is no result.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from store.records.foreign import UNREADABLE

Event = TypeVar("Event", bound=msgspec.Struct)


def mended(raw: bytes, kind: type[Event]) -> tuple[Event, list[str]] | None:
    """The event without its wrong optional values, and the fields in which there were some; None if that is not all
    that is wrong with it."""
    try:
        fields = msgspec.json.decode(raw)
        if not isinstance(fields, dict):
            return None
        dropped: list[str] = []
        for name, wanted in _optional(kind).items():
            if name in fields:
                _mend(fields, name, wanted, dropped)
        return msgspec.convert(fields, kind), dropped
    except UNREADABLE:
        return None


def _mend(fields: dict[str, Any], name: str, wanted: Any, dropped: list[str]) -> None:
    value = fields[name]
    if value is None:
        del fields[name]
    elif _fits(value, wanted):
        return
    elif isinstance(value, list):
        kept = [each for each in value if _fits([each], wanted)]
        _replace(fields, name, kept, dropped, sum(each is not None for each in value) > len(kept))
    elif isinstance(value, dict):
        entries = {key: each for key, each in value.items() if _fits({key: each}, wanted)}
        _replace(fields, name, entries, dropped, sum(each is not None for each in value.values()) > len(entries))
    else:
        _replace(fields, name, None, dropped, True)


def _replace(fields: dict[str, Any], name: str, kept: Any, dropped: list[str], wrong: bool) -> None:
    if kept:
        fields[name] = kept
    else:
        del fields[name]
    if wrong:
        dropped.append(name)


def _fits(value: Any, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return False
    return True


@lru_cache(maxsize=8)
def _optional(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind) if not field.required}
