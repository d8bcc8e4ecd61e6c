"""Embeddings: fixed-width vectors with their optimiser state and counters, on RocksDB through rocksdict.

One row is one packed record: vector, step accumulator of row-wise Adagrad, how often it was seen, and when last (event
time). Rows are read and written in blocks, one call each: columns of numpy arrays in the order of the keys. Rows and
the partition's position are one write batch, so a crash leaves both or neither. Hot rows lie in one cache of bounded
size; who leaves it is decided by second chance (the clock algorithm), so that a hit costs no bookkeeping in Python.

A row that changes many times between two publications is staged, and written once.

Two rules hold on every read, whatever lies on disk (as in Monolith, Liu et al. 2022): a row is admitted after so many
sights, until then it has counters but no vector; and a row whose last event lies further back than the horizon, by the
store's event clock, is absent. `sweep` removes those from disk later.

Invariant: what `read` returns is a function of what was staged or written and of the clock; across reopenings, of what
was written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from rocksdict import WriteBatch

from store.files.derived_store import DerivedStore, derived_options
from store.memory.clock_cache import ClockCache, Staged
from store.rows import Position

_ROW = b"v"
_META = b"\x00meta"
_SCAN_ROWS = 10_000


class EmbeddingStoreError(RuntimeError):
    """The vectors on disk cannot be used: stop the process that holds the folder, choose another folder for a copy, or
    delete the folder (the vectors come back from the state topic)."""


class _Meta(msgspec.Struct, array_like=True):
    """What is written beside every block."""

    width: int
    now_s: float = 0.0
    position: Position = msgspec.field(default_factory=Position)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingRules:
    """`width` numbers a vector; admitted after `admit_after` sights; forgotten `horizon_s` of event time after the last
    one; `cached_rows` in memory."""

    width: int = 64
    admit_after: int = 1
    horizon_s: float = np.inf
    cached_rows: int = 100_000

    @property
    def record(self) -> np.dtype[np.void]:
        """One row as it lies on disk: little-endian, packed."""
        return np.dtype([("sights", "<u4"), ("step", "<f4"), ("at_s", "<f8"), ("vector", "<f4", (self.width,))])


@dataclass(frozen=True, slots=True)
class Block:
    """Rows in the order of their keys (B rows, D numbers a vector).

    `steps_B`: accumulated mean squares of gradients; `sights_B`: 0 for a row that is absent; `at_s_B`: last event time,
    epoch seconds; `admitted_B`: whether the vector counts (elsewhere it reads as zeros)."""

    vectors_BD: np.ndarray
    steps_B: np.ndarray
    sights_B: np.ndarray
    at_s_B: np.ndarray
    admitted_B: np.ndarray


class EmbeddingStore:
    """Vectors by string key. One writer; `now_s` is the event clock, the highest time written or observed. `rebuilt`:
    what the folder held was damaged, and this is empty. `worth_caching`: which keys are likely to be asked for again;
    rows of the others are read from disk when they are."""

    def __init__(
        self,
        folder: Path,
        rules: EmbeddingRules = EmbeddingRules(),
        worth_caching: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._db = DerivedStore(folder, derived_options, _META, EmbeddingStoreError)
        self.rules, self.rebuilt = rules, self._db.rebuilt
        stored = self._db.get(_META)
        meta = msgspec.msgpack.decode(stored, type=_Meta) if stored else _Meta(rules.width)
        if meta.width != rules.width:
            self._db.close()
            raise EmbeddingStoreError(
                f"{folder} holds vectors of width {meta.width}, not {rules.width}: delete it, they are learned anew"
            )
        self.position, self.now_s = meta.position, meta.now_s
        self._cache = ClockCache(rules.record, rules.cached_rows)
        self._staged = Staged(rules.record)
        self._worth_caching = worth_caching

    @property
    def cached(self) -> int:
        """How many rows lie in memory."""
        return len(self._cache)

    @property
    def _begin_s(self) -> float:
        """What was last seen before this moment has expired."""
        return self.now_s - self.rules.horizon_s

    def observe(self, now_s: float) -> None:
        """Moves the event clock forward; it never goes back. The next write keeps it."""
        self.now_s = max(self.now_s, now_s)

    def read(self, keys: Sequence[str]) -> Block:
        """The rows of `keys`, in one call to the cache and one to the disk. Repeated keys are allowed."""
        return self._block(self._records(keys))

    def write(self, keys: Sequence[str], block: Block) -> None:
        """Writes the rows of `keys`, what is staged and `self.position` as one batch: `stage`, then `flush`."""
        self.stage(keys, block)
        self.flush()

    def stage(self, keys: Sequence[str], block: Block) -> None:
        """Changes the rows of `keys` in memory; of a repeated key the last counts. A row that is not admitted yet may
        be given a vector: it is kept, and read once the sights suffice.

        Raises `ValueError`, and changes nothing, for a vector that is not finite or a block of another shape."""
        shape = (len(keys), self.rules.width)
        if block.vectors_BD.shape != shape:
            raise ValueError(f"a block of {block.vectors_BD.shape} for {shape}: give one row of the width for each key")
        if not (np.isfinite(block.vectors_BD).all() and np.isfinite(block.steps_B).all()):
            raise ValueError("a vector or its step is not finite: lower the learning rate; nothing was changed")
        records = np.zeros(len(keys), self.rules.record)
        records["vector"], records["step"] = block.vectors_BD, block.steps_B
        records["sights"], records["at_s"] = block.sights_B, block.at_s_B
        if len(keys):
            self.observe(float(block.at_s_B.max()))
        self._staged.put(keys, records)

    def flush(self) -> None:
        """Writes what is staged, and `self.position`, as one batch."""
        keys, records = self._staged.take()
        batch = WriteBatch(raw_mode=True)
        packed, size = records.tobytes(), self.rules.record.itemsize
        for place, key in enumerate(keys):
            batch.put(_ROW + key.encode(), packed[place * size : (place + 1) * size])
        batch.put(_META, msgspec.msgpack.encode(_Meta(self.rules.width, self.now_s, self.position)))
        self._db.write(batch)
        self._remember(keys, records)

    def remove(self, keys: Sequence[str]) -> None:
        """Takes written rows away; one that is staged comes back with the next write."""
        batch = WriteBatch(raw_mode=True)
        for key in keys:
            batch.delete(_ROW + key.encode())
            self._cache.forget(key)
        self._db.write(batch)

    def scan(self) -> Iterator[tuple[list[str], Block]]:
        """Every written row that is not expired, in key order, in blocks, as of the call."""
        items = self._db.items(_ROW)
        keys: list[str] = []
        values: list[bytes] = []
        for key, value in items:
            if not key.startswith(_ROW):
                break
            keys.append(key[1:].decode())
            values.append(value)
            if len(keys) == _SCAN_ROWS:
                yield from self._living(keys, values)
                keys, values = [], []
        yield from self._living(keys, values)

    def sweep(self) -> int:
        """Removes expired rows from disk and memory; returns how many. Reads every row, if rows expire at all."""
        begin_s, swept = self._begin_s, 0
        if begin_s == -np.inf:
            return 0
        batch = WriteBatch(raw_mode=True)
        for key, value in self._db.items(_ROW):
            if not key.startswith(_ROW):
                break
            if np.frombuffer(value, self.rules.record)["at_s"][0] < begin_s:
                batch.delete(key)
                self._cache.forget(key[1:].decode())
                swept += 1
        self._db.write(batch)
        return swept

    def close(self) -> None:
        self._cache, self._staged = ClockCache(self.rules.record, 0), Staged(self.rules.record)
        self._db.close()

    def _records(self, keys: Sequence[str]) -> np.ndarray:
        records = np.zeros(len(keys), self.rules.record)
        missing = self._cache.fill(keys, self._staged.fill(keys, range(len(keys)), records), records)
        if missing:
            stored = self._db.get([_ROW + keys[place].encode() for place in missing])
            found = [place for place, value in zip(missing, stored, strict=True) if value is not None]
            if found:
                records[found] = self._unpacked([value for value in stored if value is not None])
                self._remember([keys[place] for place in found], records[found])
        return records

    def _remember(self, keys: Sequence[str], records: np.ndarray) -> None:
        worth = [place for place, key in enumerate(keys) if self._worth_caching(key)]
        if len(worth) < len(keys):
            for key in set(keys).difference(keys[place] for place in worth):
                self._cache.forget(key)  # what was worth it before
            keys, records = [keys[place] for place in worth], records[worth]
        self._cache.put(keys, records)

    def _living(self, keys: list[str], values: list[bytes]) -> Iterator[tuple[list[str], Block]]:
        records = self._unpacked(values)
        living = np.flatnonzero(records["at_s"] >= self._begin_s)
        if len(living):
            yield [keys[place] for place in living.tolist()], self._block(records[living])

    def _unpacked(self, values: list[bytes]) -> np.ndarray:
        if any(len(value) != self.rules.record.itemsize for value in values):
            raise EmbeddingStoreError("a row has not the length that its width gives: delete the folder")
        return np.frombuffer(b"".join(values), self.rules.record)

    def _block(self, records: np.ndarray) -> Block:
        sights_B = np.where(records["at_s"] >= self._begin_s, records["sights"], 0).astype(np.int64)
        admitted_B = (sights_B >= self.rules.admit_after) & (sights_B > 0)
        known_B = sights_B > 0
        return Block(
            np.where(admitted_B[:, None], records["vector"], np.float32(0.0)),
            np.where(admitted_B, records["step"], np.float32(0.0)),
            sights_B,
            np.where(known_B, records["at_s"], 0.0),
            admitted_B,
        )
