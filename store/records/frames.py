"""Frames: many events in one record, and the bytes of each as published.

Invariant: of a record that is broken somewhere, the events that are whole are still told apart.
"""

from __future__ import annotations

import re

import msgspec

from store.records.foreign import UNREADABLE


def frame(events: list[bytes]) -> bytes:
    """One record value that holds `events`, each already JSON."""
    return b'{"events":[' + b",".join(events) + b"]}"


class _RawFrame(msgspec.Struct):
    """A frame has no id of its own: an event may have an unknown field that is called `events`, too."""

    events: list[msgspec.Raw]
    item_id: msgspec.Raw = msgspec.Raw(b"")
    user_id: msgspec.Raw = msgspec.Raw(b"")


def raw_events(value: bytes) -> list[bytes]:
    """The JSON of each event of one record, as published; of a record that is no frame, the record itself."""
    try:
        parts = _RAW_FRAMES.decode(value)
    except UNREADABLE:
        return _split(value) or [value]
    return [value] if bytes(parts.item_id) or bytes(parts.user_id) else [bytes(part) for part in parts.events]


def _split(value: bytes) -> list[bytes]:
    """The events of a frame in which something is no JSON (a NaN, a broken string, nesting without end), told apart by
    brackets alone so that it does not spoil the others; none if the brackets are wrong, too."""
    head = _FRAME_HEAD.match(value)
    if head is None:
        return []
    parts: list[bytes] = []
    start, depth, quoted = head.end(), 0, False
    for token in _STRUCTURE.finditer(value, start):
        mark = token[0]
        if mark == b'"':
            quoted = not quoted
        elif quoted or mark[0] == 0x5C:  # a backslash and what it escapes
            continue
        elif mark in b"[{":
            depth += 1
        elif mark == b",":
            if depth == 0:
                parts.append(value[start : token.start()])
                start = token.end()
        elif depth > 0:
            depth -= 1
        else:
            complete = mark == b"]" and value[token.end() :].strip() == b"}"
            return [*parts, value[start : token.start()]] if complete else []
    return []


_RAW_FRAMES = msgspec.json.Decoder(_RawFrame)
_FRAME_HEAD = re.compile(rb'\s*\{\s*"events"\s*:\s*\[')
_STRUCTURE = re.compile(rb'\\.|["\[\]{},]', re.DOTALL)
