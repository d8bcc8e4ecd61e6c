"""Histories: what one user did, in the order of the log.

A `UserRow` is the durable state of a user: the recent entries, the hashes of every item the user has, the profile, and
the offset of the last engagement record that it absorbed.

Invariants: an `event_id` is absorbed at most once within the row's window; a record at or before `row.offset` changes
nothing; the signal of an entry can be derived again from the row as long as its record has not been committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter

import msgspec
import numpy as np

from store.events import KIND_CODES, Engagement
from store.keys import hash64
from store.signals import Signal


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One engagement in a history. `kind` is its code; `offset` and `index` its place in the log and in its frame."""

    event_id: str
    item_id: str
    kind: int
    occurred_at: float
    weight: float
    value: float | None
    offset: int
    index: int


class UserRow(msgspec.Struct, array_like=True):
    """All that is kept of one user. `seen` is packed little-endian uint64 hashes of items with positive engagement."""

    offset: int = -1
    entries: list[Entry] = []
    seen: bytes = b""
    attributes: dict[str, str | float] = {}
    profiled_at: float = 0.0

    def seen_hashes(self) -> np.ndarray:
        """The items the user has, as uint64 hashes (shape N)."""
        return np.frombuffer(self.seen, dtype="<u8")

    def positives(self) -> Iterator[Entry]:
        """Entries with positive weight, newest in the log first."""
        return (entry for entry in reversed(self.entries) if entry.weight > 0)


class HistoryRules(msgspec.Struct, frozen=True):
    """How much is remembered: `length` entries, and a context of `context` items in each signal."""

    weights: Mapping[str, float]
    length: int = 128
    context: int = 20
    seen: int = 4096


def absorb(row: UserRow, event: Engagement, offset: int, index: int, rules: HistoryRules) -> Signal | None:
    """Appends `event` to `row` and returns the signal for the item's owner, or None for a duplicate `event_id`.

    The caller has checked that `offset` is not absorbed yet (`row.offset < offset`, or the
    same record still being read).
    """
    event_id = event.event_id
    entries = row.entries
    # Only the window that every worker keeps counts: what `trim` left beyond it differs between them.
    if event_id in map(_event_id, entries[-rules.length :]):
        return None
    entry = Entry(
        event_id,
        event.item_id,
        KIND_CODES[event.kind],
        event.occurred_at,
        rules.weights.get(event.kind, 0.0),
        event.value,
        offset,
        index,
    )
    signal = _signal(entry, entries, len(entries), rules.context)
    entries.append(entry)
    if entry.weight > 0:
        _remember(row, event.item_id, rules.seen)
    return signal


def derive(row: UserRow, offset: int, rules: HistoryRules) -> dict[int, Signal]:
    """The signals of an absorbed record again, by the event's index in its frame; duplicates have none."""
    return {
        entry.index: _signal(entry, row.entries, place, rules.context)
        for place, entry in enumerate(row.entries)
        if entry.offset == offset
    }


def trim(row: UserRow, unsafe_from: int, rules: HistoryRules) -> None:
    """Drops the oldest entries beyond the length. An entry whose record may be read again (from offset `unsafe_from`
    on) stays, and so does the context before it: its signal may have to be derived again."""
    keep_from = len(row.entries) - rules.length
    if keep_from <= rules.length // 4:  # in strides: a list that loses its head at every event costs a copy each time
        return
    reach = 4 * rules.context  # how far back `_signal` looks
    for place, entry in enumerate(row.entries[: keep_from + reach]):
        if entry.offset >= unsafe_from:
            keep_from = min(keep_from, max(0, place - reach))
            break
    del row.entries[:keep_from]


_event_id = attrgetter("event_id")


def _signal(entry: Entry, entries: list[Entry], end: int, context_length: int) -> Signal:
    context: list[tuple[str, float]] = []
    for reach in (context_length + 8, 4 * context_length):  # most entries are positive: the short look is mostly enough
        recent = entries[max(0, end - reach) : end]
        context = [(earlier.item_id, earlier.occurred_at) for earlier in recent if earlier.weight > 0]
        if len(context) >= context_length or reach >= end:
            break
    context = context[: -context_length - 1 : -1]
    return Signal(entry.item_id, entry.event_id, entry.kind, entry.occurred_at, entry.weight, entry.value, context)


def _remember(row: UserRow, item_id: str, limit: int) -> None:
    packed = hash64(item_id).to_bytes(8, "little")
    seen = row.seen
    at = seen.find(packed)
    while at % 8 and at != -1:  # a match across two hashes is no match
        at = seen.find(packed, at + 1)
    if at == -1:
        row.seen = (seen + packed)[-8 * limit :]
