"""The item's side: signals of one partition become item rows.

Pure of Kafka: records in, effects out. A signal record names its origin (partition and offset of the engagement record
that caused it); origins of one engagements partition come in order, and a signal whose origin has been passed is a
repetition. The map of passed origins is part of the position: one write batch with the rows, and published with them.
A repetition may be all that is left of a publication that did not come about: the rows that it names are published
again. Vectors are learned beside the rows (`stream.ingest.item_vectors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from store.events import Refusal
from store.files.crash_points import reached
from store.items import ItemRow, age_of, row_in
from store.keys import partition_of
from store.records.foreign import UNREADABLE
from store.rows import Position, RowStore
from store.signals import CANARY_ORIGIN, SignalFrame, decode_frames
from stream.ingest.growth.expiry import Expiry
from stream.ingest.growth.unknown_items import UnknownItems
from stream.ingest.item_vectors import ItemVectors
from stream.ingest.protocol.published_rows import Comparison
from stream.kafka.log_identity import further
from stream.kafka.records import Effects, Record, Refused
from trainer.items.item_learning import ItemRules, absorb


class Change(NamedTuple):
    """A row that the state topic has not got yet; `caused_at_ms` is the oldest engagement in it that nobody can see."""

    row: bytes
    caused_at_ms: int


class ItemSide:
    """State and rules of one item-signals partition. Changed rows are staged until `flush`. `reached`: the furthest
    offset of a row that was taken over. `staged_unknown`: how many of the staged
    rows are of items that are not in the catalogue. `canary_at_ms`: when the newest canary came (-1: none yet)."""

    def __init__(
        self,
        partition: int,
        rows: RowStore[ItemRow],
        rules: ItemRules,
        vectors: ItemVectors,
        unknown: UnknownItems | None = None,
        partitions: int = 0,
        horizon_s: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        """`partitions`: how many there are, so that signals that went astray are known (0: not known). `horizon_s`: how
        long an item's row stays that nobody touches (0: for ever)."""
        self.expiry: Expiry = Expiry(rows, age_of, horizon_s, self._remove)
        self.partition = partition
        self._partitions = partitions
        self.staged_unknown = 0
        self._unknown = unknown
        self.rows = rows
        self.vectors = vectors
        self._caused_at: dict[str, int] = {}
        self.reached = self.canary_at_ms = -1
        self._restored: dict[str, ItemRow] = {}
        self._rules = rules

    def absorb(self, records: Iterable[Record]) -> Effects:
        """Takes signal records in order."""
        effects = Effects()
        position = self.rows.position
        for record in records:
            self._absorb_record(record, effects)
            position.absorbed = max(position.absorbed, record.offset)
            if self.vectors.due:
                self.vectors.learn()
        return effects

    def flush(self) -> dict[str, Change]:
        """Writes what has changed; returns what the state topic has not got yet."""
        self.vectors.flush(self.rows.position.absorbed, self.rows)
        reached("vectors_written")
        caused_at, self._caused_at = self._caused_at, {}
        self.staged_unknown = 0
        rows = self.rows.flush()
        return {item_id: Change(row, caused_at.get(item_id, 0)) for item_id, row in rows.items() if row is not None}

    def merge(self, item_id: str, value: bytes | None) -> ItemRow | None:
        """The row that results from meeting a record of the state topic, or None when what is here includes it."""
        joined: ItemRow | None = self.compare(item_id, value).joined
        return joined

    def compare(self, item_id: str, value: bytes | None) -> Comparison:
        if value is None:
            return Comparison(None, outdated=False)
        known = self.rows.get(item_id)
        row = row_in(value)
        if known is None or row.offset > known.offset:
            return Comparison(row, outdated=False)
        return Comparison(None, outdated=row.offset < known.offset)

    def take_over(self, item_id: str, row: ItemRow | None) -> None:
        if row is not None:  # no item's row is ever taken away
            self.rows.stage(item_id, row)
            self._restored[item_id] = row
            self.reached = max(self.reached, row.offset)

    def end(self, item_id: str) -> None:
        """The row of an item expired, and another has published that."""
        self._restored.pop(item_id, None)
        self.vectors.store.remove([item_id])
        self.rows.stage(item_id, None)

    def _remove(self, item_ids: Sequence[str]) -> None:
        self.vectors.store.remove(item_ids)
        self.rows.remove(item_ids)

    def write_restored(self) -> None:
        restored, self._restored = self._restored, {}
        self.vectors.restore(restored)  # before the rows: see `stream.ingest.item_vectors`
        self.rows.flush()

    def restore(self, merged: Mapping[str, ItemRow]) -> None:
        """Writes rows that `merge` has found to be further, their vectors first."""
        self.vectors.restore(merged)
        self.rows.write(merged)

    def close(self) -> None:
        """Gives rows and vectors back."""
        self.rows.close()
        self.vectors.close()

    def meet(self, position: Position) -> None:
        """Takes over a published position when it is further than the own one."""
        own = self.rows.position
        own.logs = further(own, position)
        own.safe = max(own.safe, position.safe)
        if position.absorbed > own.absorbed:
            own.absorbed, own.passed = position.absorbed, position.passed

    def _absorb_record(self, record: Record, effects: Effects) -> None:
        frames = self._frames(record)
        if isinstance(frames, Refusal):
            effects.refused.append(Refused(record, frames))
            return
        touched: dict[str, ItemRow | None] = {}
        for frame in frames:
            if frame.origin == CANARY_ORIGIN:
                self.canary_at_ms = max(self.canary_at_ms, frame.caused_at_ms)
            elif self._pass(frame):
                self._absorb_frame(frame, record.offset, touched, effects)
            else:
                effects.duplicates += len(frame.signals)
                self._publish_again(frame)
        touched_s = record.timestamp_ms // 1000
        self.expiry.observe(touched_s)
        for row in touched.values():
            if row is not None:
                row.offset, row.touched_s = record.offset, max(row.touched_s, touched_s)

    def _frames(self, record: Record) -> list[SignalFrame] | Refusal:
        """The frames of a record; all are refused if one cannot be an owner's: an origin beyond all that comes would
        have that pass for a repetition."""
        value = record.value or b""
        try:
            frames = decode_frames(value)
        except UNREADABLE as error:
            return Refusal("not_an_event", f"not signal frames: {error}", value)
        fault = next(filter(None, (self._fault_of(frame) for frame in frames)), "" if frames else "no frame")
        return Refusal("not_an_event", f"not signal frames: {fault}", value) if fault else frames

    def _fault_of(self, frame: SignalFrame) -> str:
        count = self._partitions
        if count and (frame.partition >= count or not frame.signals):
            return "a partition that does not exist"
        if count and partition_of(frame.signals[0].item_id, count) != self.partition:
            return "signals of another partition's items"
        return ""

    def _absorb_frame(
        self, frame: SignalFrame, offset: int, touched: dict[str, ItemRow | None], effects: Effects
    ) -> None:
        """`touched`: the rows of the whole record; None for one that came from the state topic and is ahead of this
        partition's position."""
        for signal in frame.signals:
            item_id = signal.item_id
            if item_id not in touched:
                known = self.rows.get(item_id) or ItemRow()
                touched[item_id] = known if known.offset < offset else None
            row = touched[item_id]
            if row is None:
                effects.duplicates += 1
                continue
            absorb(row, signal, self._rules)
            if self._stage(item_id, row, frame.caused_at_ms) and self._unknown is not None:
                self._unknown.absorbed(item_id)
            self.vectors.absorb(signal, offset)
            effects.absorbed += 1

    def _stage(self, item_id: str, row: ItemRow, caused_at_ms: int) -> bool:
        """Whether the item is not in the catalogue."""
        is_unknown = self._unknown is not None and self._unknown.is_unknown(item_id)
        if is_unknown and not self.rows.is_staged(item_id):
            self.staged_unknown += 1
        self.rows.stage(item_id, row)
        if caused_at_ms < self._caused_at.get(item_id, 1 << 62):
            self._caused_at[item_id] = caused_at_ms
        return is_unknown

    def publish_again(self, record: Record) -> None:
        """Stages the rows that a record names, as they are."""
        frames = self._frames(record)
        if not isinstance(frames, Refusal):
            for frame in frames:
                self._publish_again(frame)

    def _publish_again(self, frame: SignalFrame) -> None:
        for signal in frame.signals:
            row = self.rows.get(signal.item_id)
            if row is not None:
                self._stage(signal.item_id, row, frame.caused_at_ms)

    def _pass(self, frame: SignalFrame) -> bool:
        """Whether this frame's origin is new; if so it is passed from now on."""
        origin = (frame.origin.offset, frame.origin.index)
        passed = self.rows.position.passed
        if origin <= tuple(passed.get(frame.partition, (-1, -1))):
            return False
        passed[frame.partition] = origin
        return True
