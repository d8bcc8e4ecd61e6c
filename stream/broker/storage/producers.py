"""Idempotent producers: a batch that is sent again is acknowledged again, but not stored again.

A producer numbers its records per partition. The broker keeps, for each producer, its epoch and its last five
batches; a batch among these is a repetition, the one that follows is new, any other is out of order. The state is a
function of the log: it is saved with each closed segment and rebuilt from the batches after it, so it survives a
restart. Producer ids are handed out from a durable counter and never twice.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from store.files.replacing import replace_file
from stream.broker.errors import Code, RefusedError
from stream.broker.storage.batches import Batch

_REMEMBERED = 5  # as many batches as a client may have in flight
_FORGET_AFTER_MS = 24 * 3600 * 1000
_BLOCK = 1000

Snapshot = list[tuple[int, int, int, list[tuple[int, int, int]]]]


class _Producer:
    __slots__ = ("batches", "epoch", "seen_ms")

    def __init__(self, epoch: int, seen_ms: int) -> None:
        self.epoch = epoch
        self.seen_ms = seen_ms
        self.batches: deque[tuple[int, int, int]] = deque(maxlen=_REMEMBERED)  # first, last sequence, base offset


class Producers:
    """The idempotent producers of one partition."""

    def __init__(self) -> None:
        self._known: dict[int, _Producer] = {}

    def repeated(self, batch: Batch) -> int | None:
        """The offset at which this batch is stored already, or None if it is new; refuses what is out of order."""
        producer = self._known.get(batch.producer_id) if batch.producer_id >= 0 else None
        if producer is None:
            return None  # also a producer whose records have all expired: any number starts it
        if batch.producer_epoch < producer.epoch:
            raise RefusedError(
                Code.INVALID_PRODUCER_EPOCH, f"epoch {batch.producer_epoch} is fenced by {producer.epoch}"
            )
        if batch.producer_epoch > producer.epoch:
            if batch.base_sequence != 0:
                raise RefusedError(Code.OUT_OF_ORDER_SEQUENCE, f"a new epoch begins at 0, not {batch.base_sequence}")
            return None
        for first, last, offset in producer.batches:
            if (first, last) == (batch.base_sequence, batch.last_sequence):
                return offset
        expected = (producer.batches[-1][1] + 1) & 0x7FFFFFFF
        if batch.base_sequence != expected:
            raise RefusedError(Code.OUT_OF_ORDER_SEQUENCE, f"sequence {batch.base_sequence} where {expected} follows")
        return None

    def absorb(self, batch: Batch, now_ms: int) -> None:
        """Remembers a stored batch."""
        if batch.producer_id < 0:
            return
        producer = self._known.get(batch.producer_id)
        if producer is None or producer.epoch != batch.producer_epoch:
            producer = self._known[batch.producer_id] = _Producer(batch.producer_epoch, now_ms)
        producer.seen_ms = now_ms
        producer.batches.append((batch.base_sequence, batch.last_sequence, batch.base_offset))

    def snapshot(self, now_ms: int) -> Snapshot:
        """The state for the seal of a segment; forgets producers that have been silent for a day."""
        self._known = {i: p for i, p in self._known.items() if now_ms - p.seen_ms < _FORGET_AFTER_MS}
        return [(i, p.epoch, p.seen_ms, list(p.batches)) for i, p in self._known.items()]

    def restore(self, snapshot: Snapshot) -> None:
        self._known = {}
        for producer_id, epoch, seen_ms, batches in snapshot:
            producer = self._known[producer_id] = _Producer(epoch, seen_ms)
            producer.batches.extend((first, last, offset) for first, last, offset in batches)


class ProducerIds:
    """Hands out producer ids; the file holds the first id that was never reserved."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = self._reserved = int(path.read_text()) if path.exists() else 0

    def new(self) -> int:
        if self._next == self._reserved:
            replace_file(self._path, str(self._reserved + _BLOCK).encode())
            self._reserved += _BLOCK
        self._next += 1
        return self._next - 1
