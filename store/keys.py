"""Keys: what an id must not be, which partition owns it, and the 64-bit hash that stands for it in compact sets.

Invariant: `partition_of` agrees with Kafka's default partitioner (murmur2 of the key's bytes, sign bit cleared), so a
record keyed by any client in any language lies in the partition that sidestream expects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

RESERVED = "sidestream.canary."
"""So begin ids that no event of an application may have (`store.records.canaries`)."""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C

REMEMBERED = 1 << 14
"""Ids of which partition or hash is remembered, some 300 bytes each. Whether an id lasts nobody knows here."""


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 of `data` (unsigned)."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length & 3:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


def id_fault(name: str, found: str) -> tuple[str, str] | None:
    """Why no event may have this id, which is not empty: (reason, detail); `name`: of its field."""
    if found[0] <= " ":
        return "wrong_type", f"{name} begins with white space or a control character: send the plain id"
    if found.startswith(RESERVED):
        return "reserved_id", f"{name} begins with {RESERVED} as sidestream's own ids do: use another"
    return None


@lru_cache(maxsize=REMEMBERED)
def partition_of(key: str, partitions: int) -> int:
    """The partition that owns `key` in a topic of `partitions` partitions.

    Cached: ids repeat, and murmur2 in Python does not come free.
    """
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


class Owned(dict[str, bool]):
    """Whether one partition owns an id: `owned[key]`, remembered, for those that ask for thousands at a time.
    `lasts`: which ids are likely to be asked for again."""

    def __init__(
        self, number: int, partitions: int, capacity: int = 1 << 18, lasts: Callable[[str], bool] = lambda _: True
    ) -> None:
        super().__init__()
        self._number, self._partitions, self._capacity, self._lasts = number, partitions, capacity, lasts

    def __missing__(self, key: str) -> bool:
        owns = partition_of(key, self._partitions) == self._number
        if self._lasts(key):
            if len(self) >= self._capacity:
                self.clear()
            self[key] = owns
        return owns


@lru_cache(maxsize=REMEMBERED)
def hash64(key: str) -> int:
    """A stable unsigned 64-bit hash of an id, for sets that hold hashes instead of strings."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")
