"""Rows: the durable state of one partition, on RocksDB through rocksdict.

Rows and the partition's position are written in one write batch, so a crash leaves both or neither. A killed process
loses nothing that `write` or `flush` returned from (RocksDB's log is with the operating system by then); a power cut
may lose the newest writes, and the log they came from brings them back. A row that changes many times between two
publications is staged, and encoded and written once; a crash before that takes its changes and the position that would
vouch for them back together.

Invariants: what `get` returns is what was staged or written last; across reopenings, what was written last. What is
kept decoded in memory is bounded by the bytes of its rows on disk, whoever the rows are of.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from rocksdict import WriteBatch

from store.files.derived_store import DerivedStore, derived_options
from store.records.foreign import is_offset

Row = TypeVar("Row", bound=msgspec.Struct)

_ROW = b"r"
POSITION_KEY = b"\x00position"
"""The key of a position, in the store and on a state topic. Ids never begin with a control character."""


class RowStoreError(RuntimeError):
    """The rows on disk cannot be used: stop the process that holds the folder, or delete the folder (the rows come back
    from the state topic)."""


class LogIdentity(msgspec.Struct, array_like=True, frozen=True):
    """Which log a position counts in: the id that the broker gave its topic (empty: it gives none).

    A log that was created anew, cut or restored counts from a lower offset again. So positions, rows and origins hold
    the broker's offset plus `base` from offset `since` on (plus `before` below it): when a log is started over, `base`
    is chosen so that all that is new lies beyond all that was absorbed. For most logs, for ever, all three are 0.
    `partitions`: how many its topic had, for that decides where keys lie (0: not known).
    """

    topic_id: str = ""
    base: int = 0
    since: int = 0
    before: int = 0
    partitions: int = 0

    def counted(self, offset: int) -> int:
        """The offset that rows remember for the broker's `offset`."""
        return offset + (self.base if offset >= self.since else self.before)

    def offset(self, counted: int) -> int:
        """The broker's offset for one that rows remember."""
        return counted - self.base if counted - self.base >= self.since else counted - self.before


class Position(msgspec.Struct, array_like=True):
    """How far a partition has come.

    `absorbed`: last offset of its input topic that is in the rows. `safe`: last offset of which everything that it
    causes is safe, too: a new start reads on from there. `state_offset`: next offset of its state topic that may hold
    something newer than the rows. `passed`: origin partition → (offset, index) of the last signal absorbed.
    `profiles`, `profiles_safe`: the same for the profiles partition. `logs`: topic (without prefix) → the log that all
    of this counts in; one that is missing was never read, or by a release that did not ask. `cards_end`: of uploads,
    the offset on `semantic-ids` behind the last card that is safe there. `republish`: the state topic has lost rows,
    and not all of them have been published again.
    """

    absorbed: int = -1
    safe: int = -1
    state_offset: int = 0
    passed: dict[int, tuple[int, int]] = {}
    profiles: int = -1
    profiles_safe: int = -1
    logs: dict[str, LogIdentity] = {}
    cards_end: int = 0
    republish: bool = False

    def fault(self) -> str:
        """Why no owner can have published this; empty if one can."""
        passed = [number for origin in self.passed.values() for number in origin]
        offsets = (self.absorbed, self.safe, self.state_offset, self.profiles, self.profiles_safe, self.cards_end)
        counted = [n for log in self.logs.values() for n in (log.base, log.since, log.before, log.partitions)]
        possible = is_offset(*offsets, *passed, *counted) and min(self.passed, default=0) >= 0
        return "" if possible else "an offset that no log has"


CACHED_BYTES = 32 << 20
"""Of rows as they are encoded; decoded they take about five times as much memory."""


class RowStore(Generic[Row]):
    """Rows of one type by string key, with a bounded cache of decoded rows. `worth_caching`: which rows are likely to
    be asked for again; the others are read from disk when they are. `left` is told of the key of each row that is no
    longer kept, so that what was made of it need not be either.

    `get` hands out the cached row itself: change it, then `write` it, all within one step of the event loop.
    """

    def __init__(
        self,
        folder: Path,
        kind: type[Row],
        *,
        cached_rows: int = 100_000,
        cached_bytes: int = CACHED_BYTES,
        worth_caching: Callable[[str, Row], bool] = lambda *_: True,
    ) -> None:
        self.left: Callable[[str], object] = lambda _: None
        self._db = DerivedStore(folder, derived_options, POSITION_KEY, RowStoreError)
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()
        self._cache: OrderedDict[str, tuple[Row, int]] = OrderedDict()
        self._cached_rows, self._cached_bytes = cached_rows, cached_bytes
        self._held_bytes = 0
        self._worth_caching = worth_caching
        self._staged: dict[str, Row | None] = {}
        stored = self._db.get(POSITION_KEY)
        self.position = msgspec.msgpack.decode(stored, type=Position) if stored else Position()

    @property
    def staged(self) -> int:
        """How many keys have changed since the last write."""
        return len(self._staged)

    def stage(self, key: str, row: Row | None) -> None:
        """Changes a row (None: removes it) in memory: `flush` writes it."""
        self._staged[key] = row

    def is_staged(self, key: str) -> bool:
        return key in self._staged

    def flush(self) -> dict[str, bytes | None]:
        """Writes what is staged, and `self.position`, as one batch. Returns the encoded rows (None: it went)."""
        staged, self._staged = self._staged, {}
        gone = [key for key, row in staged.items() if row is None]
        encoded = self.write({key: row for key, row in staged.items() if row is not None}, gone)
        return {**encoded, **dict.fromkeys(gone)}

    def get(self, key: str) -> Row | None:
        if key in self._staged:
            return self._staged[key]
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached[0]
        stored = self._db.get(_ROW + key.encode())
        if stored is None:
            return None
        row = self._decoder.decode(stored)
        self._remember(key, row, len(stored))
        return row

    def write(self, rows: Mapping[str, Row], gone: Iterable[str] = ()) -> dict[str, bytes]:
        """Writes `rows`, removes `gone` and stores `self.position`, as one batch. Returns the encoded rows.

        Raises `ValueError` while other rows are staged: the position would vouch for changes that are not on disk."""
        if self._staged:
            raise ValueError(f"{len(self._staged)} rows are staged: flush them, the position covers them too")
        batch = WriteBatch(raw_mode=True)
        encoded = {}
        for key, row in rows.items():
            encoded[key] = value = self._encoder.encode(row)
            batch.put(_ROW + key.encode(), value)
            self._remember(key, row, len(value))
        for key in gone:
            batch.delete(_ROW + key.encode())
            self._drop(key)
        batch.put(POSITION_KEY, self._encoder.encode(self.position))
        self._db.write(batch)
        return encoded

    def encode(self, row: Row) -> bytes:
        return self._encoder.encode(row)

    def decode(self, value: bytes) -> Row:
        return self._decoder.decode(value)

    def scan(self) -> Iterator[tuple[str, Row]]:
        """Every row, in key order, as of the call."""
        return self._decoded(self._db.items(_ROW))

    def _decoded(self, stored: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[str, Row]]:
        for key, value in stored:
            if not key.startswith(_ROW):
                break
            yield key[1:].decode(), self._decoder.decode(value)

    def keys_after(self, key: str | None, limit: int) -> list[str]:
        """The next keys of written rows in their order, from the first on (None) or after one."""
        return [found for found, _ in self.encoded_after(key, limit)]

    def encoded_after(self, key: str | None, limit: int) -> list[tuple[str, bytes]]:
        """The next written rows in the order of their keys, as they lie on disk."""
        begin = _ROW if key is None else _ROW + key.encode() + b"\0"
        found = islice(self._db.items(from_key=begin), limit)
        return [(stored[1:].decode(), value) for stored, value in found if stored.startswith(_ROW)]

    def remove(self, keys: Iterable[str]) -> None:
        """Takes written rows away, apart from the position: only such as no record will be read again for."""
        batch = WriteBatch(raw_mode=True)
        for key in keys:
            batch.delete(_ROW + key.encode())
            self._drop(key)
        self._db.write(batch)

    def recent(self, limit: int) -> list[str]:
        """Keys of cached rows, the recently used first."""
        return list(islice(reversed(self._cache), limit))

    def close(self) -> None:
        self._staged.clear()
        self._cache.clear()
        self._db.close()

    def _remember(self, key: str, row: Row, size: int) -> None:
        if not self._worth_caching(key, row):
            return self._drop(key)
        cached = self._cache.get(key)
        self._held_bytes += size if cached is None else size - cached[1]
        self._cache[key] = row, size
        self._cache.move_to_end(key)
        while len(self._cache) > self._cached_rows or self._held_bytes > self._cached_bytes:
            self._drop(next(iter(self._cache)))

    def _drop(self, key: str) -> None:
        cached = self._cache.pop(key, None)
        if cached is not None:
            self._held_bytes -= cached[1]
        self.left(key)
