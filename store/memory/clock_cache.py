"""Clock cache: records of one fixed width by key, in memory, read and written many at a time.

Invariant: a record is what was put last under its key; a cache holds at most as many as its capacity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


class Staged:
    """Records that are not on disk yet, by key."""

    def __init__(self, record: np.dtype[np.void]) -> None:
        self._records = np.zeros(64, record)
        self._places: dict[str, int] = {}

    def fill(self, keys: Sequence[str], wanted: Sequence[int], records: np.ndarray) -> list[int]:
        """Puts what is here of the wanted places of `keys` into `records`; returns the other places."""
        return _fill(self._records, self._places, keys, wanted, records)

    def put(self, keys: Sequence[str], records: np.ndarray) -> None:
        """Takes these records, the last of a repeated key."""
        at = self._places
        places = [at.setdefault(key, len(at)) for key in keys]
        if len(at) > len(self._records):
            self._records = np.concatenate([self._records, np.zeros(len(at), self._records.dtype)])
        self._records[places] = records

    def all(self) -> tuple[list[str], np.ndarray]:
        """Keys and records."""
        return list(self._places), self._records[: len(self._places)]

    def take(self) -> tuple[list[str], np.ndarray]:
        """Hands out keys and records; nothing is staged then."""
        keys, records = self.all()
        self._places = {}
        return keys, records.copy()


class ClockCache:
    """The cache: records in one array, by key. A slot that was used since the hand last passed gets a second chance;
    slots are freed many at a time, so that the passing of the hand is shared by all of them."""

    def __init__(self, record: np.dtype[np.void], capacity: int) -> None:
        self._records = np.zeros(capacity, record)
        self._used = np.zeros(capacity, bool)
        self._slots: dict[str, int] = {}
        self._keys: list[str | None] = [None] * capacity
        self._free = list(range(capacity))
        self._hand = 0

    def __len__(self) -> int:
        return len(self._slots)

    def fill(self, keys: Sequence[str], wanted: Sequence[int], records: np.ndarray) -> list[int]:
        """Puts what is here of the wanted places of `keys` into `records`; returns the other places."""
        return _fill(self._records, self._slots, keys, wanted, records, self._used)

    def put(self, keys: Sequence[str], records: np.ndarray) -> None:
        """Keeps these records, the last of a repeated key; of more than there is room for, the last."""
        newest = dict(zip(keys, range(len(keys)), strict=True))
        known = [key for key in newest if key in self._slots]
        new = [key for key in newest if key not in self._slots]
        self._used[[self._slots[key] for key in known]] = True
        room = len(self._keys) - len(known)
        for key in new[len(new) - min(room, len(new)) :]:
            if not self._free:
                self._evict(known)
            if not self._free:
                break
            slot = self._free.pop()
            self._slots[key], self._keys[slot] = slot, key
            known.append(key)
        slots = [self._slots[key] for key in known]
        self._records[slots] = records[[newest[key] for key in known]]
        self._used[slots] = True

    def forget(self, key: str) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._keys[slot] = None
            self._used[slot] = False
            self._free.append(slot)

    def _evict(self, kept: list[str]) -> None:
        """Frees a sixteenth of the slots, none of `kept`."""
        pinned = {self._slots[key] for key in kept}
        capacity = len(self._keys)
        wanted = max(1, capacity // 16)
        for _ in range(2 * capacity):
            slot, self._hand = self._hand, (self._hand + 1) % capacity
            key = self._keys[slot]
            if slot in pinned or key is None:
                continue
            if self._used[slot]:
                self._used[slot] = False
                continue
            self.forget(key)
            wanted -= 1
            if not wanted:
                return


def _fill(
    kept: np.ndarray,
    slot_of: Mapping[str, int],
    keys: Sequence[str],
    wanted: Sequence[int],
    records: np.ndarray,
    used: np.ndarray | None = None,
) -> list[int]:
    """Copies from `kept` what `slot_of` knows; marks those slots as used; returns the places that it does not know."""
    if not slot_of or not wanted:
        return list(wanted)
    get = slot_of.get
    slots = np.array([get(keys[place], -1) for place in wanted], np.int64)
    places, here = np.asarray(wanted), slots >= 0
    records[places[here]] = kept[slots[here]]
    if used is not None:
        used[slots[here]] = True
    return places[~here].tolist()  # type: ignore[no-any-return]
