"""The item's side: signals of one partition become item rows.

Pure of Kafka: records in, effects out. A signal record names its origin (partition and offset of the engagement record
that caused it); origins of one engagements partition come in order, and a signal whose origin has been passed is a
repetition. The map of passed origins is part of the position: one write batch with the rows, and published with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from store.events import Refusal
from store.items import ItemRow
from store.rows import Position, RowStore
from store.signals import SignalFrame, decode_frame
from stream.records import Effects, Record, Refused
from trainer.item_learning import ItemRules, absorb


class Change(NamedTuple):
    """A row that the state topic has not got yet; `caused_at_ms` is the oldest engagement in it that nobody can see."""

    row: bytes
    caused_at_ms: int


class ItemSide:
    """State and rules of one item-signals partition."""

    def __init__(self, partition: int, rows: RowStore[ItemRow], rules: ItemRules) -> None:
        self.partition = partition
        self.rows = rows
        self.dirty: dict[str, Change] = {}
        self._rules = rules

    def absorb(self, records: Iterable[Record]) -> Effects:
        """Takes signal records in order."""
        effects = Effects()
        changed: dict[str, ItemRow] = {}
        caused_at: dict[str, int] = {}
        position = self.rows.position
        for record in records:
            self._absorb_record(record, changed, caused_at, effects)
            position.absorbed = max(position.absorbed, record.offset)
        for item_id, value in self.rows.write(changed).items():
            waiting = self.dirty.get(item_id)
            since = caused_at[item_id] if waiting is None else min(waiting.caused_at_ms, caused_at[item_id])
            self.dirty[item_id] = Change(value, since)
        return effects

    def merge(self, item_id: str, value: bytes | None) -> ItemRow | None:
        """The row that results from meeting a record of the state topic, or None when what is here includes it."""
        if value is None:
            return None
        known = self.rows.get(item_id)
        row = self.rows.decode(value)
        return row if known is None or row.offset > known.offset else None

    def meet(self, position: Position) -> None:
        """Takes over a published position when it is further than the own one."""
        own = self.rows.position
        own.safe = max(own.safe, position.safe)
        if position.absorbed > own.absorbed:
            own.absorbed, own.passed = position.absorbed, position.passed

    def _absorb_record(
        self, record: Record, changed: dict[str, ItemRow], caused_at: dict[str, int], effects: Effects
    ) -> None:
        try:
            frame = decode_frame(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            refusal = Refusal("not_an_event", f"not a signal frame: {error}", record.value or b"")
            effects.refused.append(Refused(record, refusal))
            return
        if not self._pass(frame):
            effects.duplicates += len(frame.signals)
            return
        touched: dict[str, ItemRow | None] = {}
        for signal in frame.signals:
            item_id = signal.item_id
            if item_id not in touched:
                row = changed.get(item_id) or self.rows.get(item_id) or ItemRow()
                touched[item_id] = row if row.offset < record.offset else None
            row_or_none = touched[item_id]
            if row_or_none is None:  # the row came from the state topic and is ahead of this partition's position
                effects.duplicates += 1
                continue
            absorb(row_or_none, signal, self._rules)
            effects.absorbed += 1
        for item_id, row_or_none in touched.items():
            if row_or_none is not None:
                row_or_none.offset = record.offset
                changed[item_id] = row_or_none
                caused_at[item_id] = min(caused_at.get(item_id, frame.caused_at_ms), frame.caused_at_ms)

    def _pass(self, frame: SignalFrame) -> bool:
        """Whether this frame's origin is new; if so it is passed from now on."""
        origin = (frame.origin.offset, frame.origin.index)
        passed = self.rows.position.passed
        if origin <= tuple(passed.get(frame.partition, (-1, -1))):
            return False
        passed[frame.partition] = origin
        return True
