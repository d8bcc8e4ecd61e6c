"""Histories: what one user did, in the order of the log.

A `UserRow` is the durable state of a user: the recent entries, the hashes of every item the user has, the profile, and
the offset of the last engagement record that it absorbed.

What a user decided outlives what they were shown: impressions fill the entries, so decisions (entries with a weight)
that leave them are kept beside them, as many as a history without impressions would have; and what was turned away is
remembered for as long as what the user has. Neither is read when a signal is made, which must come out the same on
every worker, whatever it has trimmed.

Invariants: an `event_id` is absorbed at most once within the row's window; a record at or before `row.offset` changes
nothing; the signal of an entry can be derived again from the row as long as its record has not been committed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from operator import attrgetter

import msgspec
import numpy as np

from store.events import DAY_S, KIND_CODES, Engagement, KindCode
from store.keys import hash64
from store.records.foreign import Finite, Moment, Offset, Second
from store.records.row_ages import ages_in
from store.signals import Signal


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One engagement in a history. `kind` is its code; `offset` and `index` its place in the log and in its frame."""

    event_id: str
    item_id: str
    kind: KindCode
    occurred_at: Moment
    weight: Finite
    value: Finite | None
    offset: Offset
    index: int


class UserRow(msgspec.Struct, array_like=True):
    """All that is kept of one user. `seen` is packed little-endian uint64 hashes of items with positive engagement,
    `refused` of those with a negative one. `kept`: decisions older than `entries`, the newest last.
    `life`: the offset in `profiles` of the request to forget the user after which this row began (-1: there was none);
    a row of an earlier life is dead. `touched_s`: time of the last record absorbed, by the broker (0: not known).
    `answered`: by task, when the user got its newest answers, of tasks that have a bound of them (epoch seconds).
    """

    offset: Offset = -1
    entries: list[Entry] = []
    seen: bytes = b""
    attributes: dict[str, str | float] = {}
    profiled_at: Moment = 0.0
    life: Offset = -1
    kept: list[Entry] = []
    refused: bytes = b""
    touched_s: Second = 0
    answered: dict[str, list[Moment]] = {}

    def seen_hashes(self) -> np.ndarray:
        """The items the user has, as uint64 hashes (shape N)."""
        return np.frombuffer(self.seen, dtype="<u8")

    def refused_hashes(self) -> np.ndarray:
        """The items the user has turned away, as uint64 hashes (shape N)."""
        return np.frombuffer(self.refused, dtype="<u8")

    def decisions(self) -> Iterator[Entry]:
        """Entries with a weight, newest in the log first."""
        return (entry for entry in chain(reversed(self.entries), reversed(self.kept)) if entry.weight)

    def positives(self) -> Iterator[Entry]:
        """Entries with positive weight, newest in the log first."""
        return (entry for entry in self.decisions() if entry.weight > 0)

    def without(self, item_id: str) -> UserRow:
        """What this row would tell had the user never met this item."""
        entries, kept = ([entry for entry in told if entry.item_id != item_id] for told in (self.entries, self.kept))
        return msgspec.structs.replace(self, entries=entries, kept=kept)

    def fault(self) -> str:
        """Why no owner can have published this; empty if one can."""
        return "hashes of items that are none" if len(self.seen) % 8 or len(self.refused) % 8 else ""


age_of = ages_in(UserRow)


def note_answer(row: UserRow, task: str, at_s: float, most: int) -> None:
    """The user got an answer of a task of which `most` are allowed a day. Whoever reads the row meanwhile sees it as it
    was, or as it is."""
    within = [before for before in row.answered.get(task, ()) if before > at_s - DAY_S]
    row.answered = {**row.answered, task: sorted([*within, at_s])[-most:]}


def joined_answers(one: UserRow, other: UserRow) -> dict[str, list[float]]:
    """When a user got answers, as far as either row knows."""
    tasks = sorted({*one.answered, *other.answered})
    return {task: joined_times(one.answered.get(task, ()), other.answered.get(task, ())) for task in tasks}


def joined_times(one: Iterable[float], other: Iterable[float]) -> list[float]:
    """What either knows, ascending; what both know counts once, but two of one moment are two."""
    return sorted((Counter(one) | Counter(other)).elements())


class HistoryRules(msgspec.Struct, frozen=True):
    """How much is remembered: `length` entries, and a context of `context` items in each signal."""

    weights: Mapping[str, float]
    length: int = 128
    context: int = 20
    seen: int = 4096


class Recent:
    """What absorbing asks of a row's newest entries, packed. Entries lie scattered in memory: reading 128 of them again
    for every event costs more than all else that happens to it. Good as long as `fits` says so."""

    __slots__ = ("_count", "_ids", "_items", "_last", "_places", "_reach", "_row", "_rules")

    def __init__(self, row: UserRow, rules: HistoryRules) -> None:
        self._row = row
        self._rules = rules
        self._reach = _reach(rules)
        self._ids = b"".join(_packed(entry.event_id) for entry in row.entries[-rules.length :])
        self._last: Entry | None = row.entries[-1] if row.entries else None
        self._count = len(row.entries)
        first = max(0, self._count - self._reach)
        self._places = [place for place, entry in enumerate(row.entries[first:], first) if entry.weight > 0]
        self._items = [row.entries[place].item_id for place in self._places]

    def fits(self, row: UserRow) -> bool:
        """Whether this is of `row` as it is."""
        return self._row is row and self._last is (row.entries[-1] if row.entries else None)

    def may_hold(self, event_id: str) -> bool:
        """False only for an id that is not among the newest entries."""
        return _packed(event_id) in self._ids

    def context(self) -> list[str]:
        """The context of the signal of what comes next, newest first."""
        beyond = bisect_left(self._places, self._count - self._reach)
        if beyond:
            del self._places[:beyond], self._items[:beyond]
        return self._items[: -self._rules.context - 1 : -1]

    def append(self, entry: Entry) -> None:
        """Follows the row."""
        self._ids = (self._ids + _packed(entry.event_id))[-8 * self._rules.length :]
        if entry.weight > 0:
            self._places.append(self._count)
            self._items.append(entry.item_id)
            if len(self._items) > 2 * self._rules.context:
                del self._places[: -self._rules.context], self._items[: -self._rules.context]
        self._last = entry
        self._count += 1


def _packed(event_id: str) -> bytes:
    return hash(event_id).to_bytes(8, "little", signed=True)  # of this process only: it is never stored


def _reach(rules: HistoryRules) -> int:
    """How many entries a context looks back."""
    return 4 * rules.context


def absorb(
    row: UserRow, event: Engagement, offset: int, index: int, rules: HistoryRules, recent: Recent | None = None
) -> Signal | None:
    """Appends `event` to `row` and returns the signal for the item's owner, or None for a duplicate `event_id`.

    The caller has checked that `offset` is not absorbed yet (`row.offset < offset`, or the
    same record still being read). With `recent`, which fits the row, it is the same and quicker.
    """
    event_id = event.event_id
    entries = row.entries
    # Only the window that every worker keeps counts: what `trim` left beyond it differs between them.
    if (recent is None or recent.may_hold(event_id)) and event_id in map(_event_id, entries[-rules.length :]):
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
    signal = _signal(entry, _context(entries, len(entries), rules) if recent is None else recent.context())
    entries.append(entry)
    if recent is not None:
        recent.append(entry)
    if entry.weight > 0:
        row.seen = _with(row.seen, event.item_id, rules.seen)
    elif entry.weight < 0:
        row.refused = _with(row.refused, event.item_id, rules.seen)
    return signal


def derive(row: UserRow, offset: int, rules: HistoryRules) -> dict[int, Signal]:
    """The signals of an absorbed record again, by the event's index in its frame; duplicates have none."""
    return {
        entry.index: _signal(entry, _context(row.entries, place, rules))
        for place, entry in enumerate(row.entries)
        if entry.offset == offset
    }


def trim(row: UserRow, unsafe_from: int, rules: HistoryRules) -> None:
    """Drops the oldest entries beyond the length. An entry whose record may be read again (from offset `unsafe_from`
    on) stays, and so does the context before it: its signal may have to be derived again. Of what goes, decisions are
    kept where impressions took their place. The lists that the row had stay as they are, for whoever still reads
    them."""
    keep_from = len(row.entries) - rules.length
    if keep_from <= rules.length // 4:  # in strides: a list that loses its head at every event costs a copy each time
        return
    unsafe = bisect_left(row.entries, unsafe_from, key=_offset)
    cut = min(keep_from, unsafe - _reach(rules))
    if cut > 0:
        older, row.entries = row.entries[:cut], row.entries[cut:]
        room = rules.length - sum(entry.weight != 0 for entry in row.entries)
        row.kept = [*row.kept, *(entry for entry in older if entry.weight)][-room:] if room > 0 else []


_event_id = attrgetter("event_id")
_offset = attrgetter("offset")


def _context(entries: list[Entry], end: int, rules: HistoryRules) -> list[str]:
    """The positive entries before `end`, newest first."""
    newest = entries[max(0, end - _reach(rules)) : end]
    return [entry.item_id for entry in newest if entry.weight > 0][: -rules.context - 1 : -1]


def _signal(entry: Entry, context: list[str]) -> Signal:
    return Signal(entry.item_id, entry.event_id, entry.kind, entry.occurred_at, entry.weight, entry.value, context)


def _with(hashes: bytes, item_id: str, limit: int) -> bytes:
    """Packed hashes with that of an item, the newest `limit`."""
    packed = hash64(item_id).to_bytes(8, "little")
    at = hashes.find(packed)
    while at % 8 and at != -1:  # a match across two hashes is no match
        at = hashes.find(packed, at + 1)
    return hashes if at != -1 else (hashes + packed)[-8 * limit :]
