"""The user's side: engagements and profiles of one partition become histories and signals.

Pure of Kafka: records in, effects out. The protocol (docs/exactly-once.md):

1. A row is changed by a record only when `row.offset` is before the record; row and offset are one write batch, made
   when the row is published (until then both are in memory, and a crash takes back both).
2. Signals are caused whenever their record is read. For a record that a row has already absorbed they are derived again
   from the history, which keeps them until the record is committed.
3. What a record causes is a function of the log before it, so that two workers that read the same record (one of them
   cut off) cause the same signals in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from store.envelopes.reading import EventReader
from store.events import Engagement, Refusal
from store.histories import HistoryRules, Recent, UserRow, absorb, age_of, derive, joined_answers, note_answer, trim
from store.keys import partition_of
from store.log import Forgotten
from store.records.canaries import canary_id, canary_in
from store.records.foreign import held_in
from store.rows import Position, RowStore
from store.signals import CANARY_ORIGIN, Origin, Signal, SignalFrame, encode_frames
from store.topics import PROFILES
from stream.ingest.growth.expiry import Expiry
from stream.ingest.protocol.published_rows import Comparison
from stream.kafka.log_identity import further
from stream.kafka.records import Effects, ReadEngagement, Record, Refused, Stray, strays_of

_EMPTY = Refusal("not_an_event", "an empty record: engagements have no tombstones", b"")

CHUNK = 256
"""Events of a frame whose signals travel in one signal frame; a signal record is closed when it holds as many."""

RECENT_USERS = 10_000
"""Users of a partition whose newest entries are kept packed, some KiB each."""


class UserSide:
    """State and rules of one engagements partition. Changed rows are staged until `flush`. `reached`: the furthest
    offset of a row that was taken over."""

    def __init__(
        self,
        partition: int,
        partitions: int,
        rows: RowStore[UserRow],
        rules: HistoryRules,
        reader: EventReader,
        horizon_s: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        """`horizon_s`: how long a user's row stays that nobody touches (0: for ever)."""
        self.expiry: Expiry = Expiry(rows, age_of, horizon_s, rows.remove)
        self.partition = partition
        self.rows = rows
        self.reached = -1
        self._partitions = partitions
        self._rules = rules
        self._reader = reader
        self._recent: dict[str, Recent] = {}
        rows.left = lambda user_id: self._recent.pop(user_id, None)  # it holds the row
        self._forgotten: dict[str, Forgotten] = {}
        self._returned: set[str] = set()

    def row(self, user_id: str) -> UserRow | None:
        return self.rows.get(user_id)

    def note_answer(self, user_id: str, task: str, at_s: float, most: int) -> None:
        """The user got an answer of a task of which `most` are allowed a day. No record says so: it is in the row."""
        row = self.rows.get(user_id) or UserRow(life=self._life(user_id))
        row.touched_s = max(row.touched_s, int(at_s))
        note_answer(row, task, at_s, most)
        self.rows.stage(user_id, row)

    def absorb(self, records: Iterable[Record], traced: Container[int] = ()) -> Effects:
        """Takes engagement records in order; `read` names every engagement, each with the row that it met. What a
        record causes whose offset is `traced` travels by itself."""
        effects = Effects()
        changed: dict[str, UserRow] = {}
        frames: dict[int, list[SignalFrame]] = {}
        for record in records:
            self._absorb_record(record, changed, frames, effects)
            self.rows.position.absorbed = max(self.rows.position.absorbed, record.offset)
        for row in changed.values():
            trim(row, self.rows.position.safe + 1, self._rules)
        for item_partition, held in frames.items():
            for bundle in _bundles(held, traced):
                if traced and (offset := bundle[0].origin.offset) in traced:
                    effects.traced[len(effects.signals)] = offset
                effects.signals.append((item_partition, bundle[0].signals[0].item_id.encode(), encode_frames(bundle)))
        return effects

    def flush(self) -> dict[str, bytes | None]:
        """Writes what has changed; returns what the state topic has not got yet (None: forgotten)."""
        for user_id in self._returned:
            if self.rows.get(user_id) is None:
                self.rows.stage(user_id, None)
        self._returned.clear()
        return self.rows.flush()

    def remember(self, forgotten: Mapping[str, Forgotten]) -> None:
        """Learns who was forgotten while others had this partition: their rows here go, and none comes back."""
        for user_id, one in forgotten.items():
            known = self._forgotten.get(user_id)
            if known is None or known.offset < one.offset:
                self._forgotten[user_id] = one
            row = self.rows.get(user_id)
            if row is not None and row.life < one.offset:
                self.rows.stage(user_id, None)

    def absorb_profiles(self, records: Iterable[Record]) -> Effects:
        """Takes profile records in order; a null value forgets the user.

        A record that was absorbed before is absorbed again: it changes nothing by then, but its row may never have
        reached the state topic, and a forgotten user would come back from there.
        """
        effects = Effects()
        position = self.rows.position
        for record in records:
            position.profiles = max(position.profiles, record.offset)
            self._absorb_profile(record, effects)
        return effects

    def merge(self, user_id: str, value: bytes | None) -> UserRow | None:
        """The row that results from meeting a record of the state topic: of two rows the one further in the log wins,
        of two profiles the later one. None when what is here already includes it."""
        joined: UserRow | None = self.compare(user_id, value).joined
        return joined

    def compare(self, user_id: str, value: bytes | None) -> Comparison:
        known = self.rows.get(user_id)
        if value is None:
            return Comparison(None, outdated=False)
        row = held_in(value, self.rows.decode, "user's row")
        if row.life < self._life(user_id):  # of one who was forgotten since, written late
            self._returned.add(user_id)
            return Comparison(None, outdated=known is not None)
        if known is None or row.life > known.life:
            return Comparison(row, outdated=False)
        answered = joined_answers(known, row)
        outdated = known.offset > row.offset or known.profiled_at > row.profiled_at or answered != row.answered
        if row.offset <= known.offset and row.profiled_at <= known.profiled_at and answered == known.answered:
            return Comparison(None, outdated)
        newer, older = (row, known) if row.offset >= known.offset else (known, row)
        joined: dict[str, Any] = {"answered": answered, "touched_s": max(newer.touched_s, older.touched_s)}
        if older.profiled_at > newer.profiled_at:
            joined |= {"attributes": older.attributes, "profiled_at": older.profiled_at}
        newer = msgspec.structs.replace(newer, **joined)  # a copy: the own row may be at work
        return Comparison(newer, outdated)

    def take_over(self, user_id: str, row: UserRow | None) -> None:
        if row is None and user_id in self._forgotten:
            return  # `remember` has taken what it meant, and the user may have come back since
        self.rows.stage(user_id, row)
        if row is not None:
            self.reached = max(self.reached, row.offset)

    def end(self, user_id: str) -> None:
        """The row of a user expired, and another has published that."""
        self.rows.stage(user_id, None)

    def write_restored(self) -> None:
        self.rows.flush()

    def meet(self, position: Position) -> None:
        """Takes over a published position where it is further than the own one."""
        own = self.rows.position
        own.logs = further(own, position)
        own.safe, own.profiles_safe = max(own.safe, position.safe), max(own.profiles_safe, position.profiles_safe)
        own.absorbed, own.profiles = max(own.absorbed, position.absorbed), max(own.profiles, position.profiles)

    def _absorb_record(
        self, record: Record, changed: dict[str, UserRow], frames: dict[int, list[SignalFrame]], effects: Effects
    ) -> None:
        if record.value is None:
            effects.refused.append(Refused(record, _EMPTY))
            return
        if canary_in(record.value, Engagement, self.partition, self._partitions) is not None:
            frames.setdefault(self.partition, []).append(self._canary_signal(record))
            effects.canary_at_ms = max(effects.canary_at_ms, record.timestamp_ms)
            return
        decoded = self._reader.engagements(record.value, now=record.timestamp_ms / 1000)
        effects.refused.extend(Refused(record, refusal) for refusal in decoded.refusals)
        effects.dropped += decoded.dropped
        touched: dict[str, tuple[UserRow, dict[int, Signal] | None]] = {}
        caused: list[tuple[int, Signal]] = []
        elsewhere: list[tuple[int, str]] = []
        for index, event in enumerate(decoded.events):
            state = touched.get(event.user_id)
            if state is None:
                if self._is_forgotten(event.user_id, record):
                    effects.duplicates += 1
                    continue
                if partition_of(event.user_id, self._partitions) != self.partition:
                    elsewhere.append((index, event.user_id))
                    continue
                state = touched[event.user_id] = self._state(event.user_id, record.offset)
            row, derived = state
            entries, held, seen, refused = row.entries, len(row.entries), row.seen, row.refused
            if derived is not None:
                signal = derived.get(index)
            else:
                signal = absorb(row, event, record.offset, index, self._rules, self._recent_of(event.user_id, row))
                effects.absorbed += signal is not None
                effects.duplicates += signal is None
            is_new = derived is None and signal is not None
            effects.read.append(ReadEngagement(event, is_new, row, entries, held, seen, refused))
            if signal is not None:
                caused.append((index, signal))
        touched_s = record.timestamp_ms // 1000
        self.expiry.observe(touched_s)
        for user_id, (row, _) in touched.items():
            row.offset, row.touched_s = max(row.offset, record.offset), max(row.touched_s, touched_s)
            changed[user_id] = row
            self.rows.stage(user_id, row)
        effects.strays += strays_of(record, decoded, elsewhere)
        self._frame(record, caused, frames)

    def _canary_signal(self, record: Record) -> SignalFrame:
        """What tells the owner of the same partition's items of a canary: an origin that every reader has passed."""
        own = canary_id(self.partition, self._partitions)
        signal = Signal(own, own, 0, record.timestamp_ms / 1000, 0.0, None, [])
        return SignalFrame(self.partition, CANARY_ORIGIN, record.timestamp_ms, [signal])

    def _state(self, user_id: str, offset: int) -> tuple[UserRow, dict[int, Signal] | None]:
        row = self.rows.get(user_id) or UserRow(life=self._life(user_id))
        return row, derive(row, offset, self._rules) if row.offset >= offset else None

    def _life(self, user_id: str) -> int:
        """Where the life of a user begins that is not forgotten."""
        known = self._forgotten.get(user_id)
        return -1 if known is None else known.offset

    def _is_forgotten(self, user_id: str, record: Record) -> bool:
        """Whether what the record says of the user came before the user was forgotten. Of the same millisecond is after
        it what is read after it, unless it was moved here."""
        known = self._forgotten.get(user_id)
        return known is not None and record.first_ms < known.forgotten_at_ms + (record.came_at_ms >= 0)

    def _recent_of(self, user_id: str, row: UserRow) -> Recent:
        recent = self._recent.get(user_id)
        if recent is None or not recent.fits(row):
            if len(self._recent) >= RECENT_USERS:
                self._recent.pop(next(iter(self._recent)))
            recent = self._recent[user_id] = Recent(row, self._rules)
        return recent

    def _frame(self, record: Record, caused: list[tuple[int, Signal]], frames: dict[int, list[SignalFrame]]) -> None:
        groups: dict[tuple[int, int], list[Signal]] = {}
        for index, signal in caused:
            groups.setdefault((index // CHUNK, partition_of(signal.item_id, self._partitions)), []).append(signal)
        for (chunk, item_partition), signals in groups.items():
            origin = Origin(record.offset, (chunk + 1) * CHUNK - 1)
            frame = SignalFrame(self.partition, origin, record.timestamp_ms, signals)
            frames.setdefault(item_partition, []).append(frame)

    def _absorb_profile(self, record: Record, effects: Effects) -> None:
        if record.value is None:
            self._forget(record, effects)
            return
        decoded = self._reader.profiles(record.value, now=record.timestamp_ms / 1000)
        if decoded.removed is not None:
            self._forget(record._replace(key=decoded.removed.encode(), value=None), effects)
            return
        effects.refused.extend(Refused(record, refusal) for refusal in decoded.refusals)
        effects.dropped += decoded.dropped
        elsewhere: list[tuple[int, str]] = []
        for index, event in enumerate(decoded.events):
            if partition_of(event.user_id, self._partitions) != self.partition:
                elsewhere.append((index, event.user_id))
                continue
            if record.offset < self._life(event.user_id) or self._is_forgotten(event.user_id, record):
                effects.duplicates += 1
                continue
            row = self.rows.get(event.user_id) or UserRow(life=self._life(event.user_id))
            self.rows.stage(event.user_id, row)
            row.touched_s = max(row.touched_s, record.timestamp_ms // 1000)
            if event.updated_at > row.profiled_at:
                row.attributes, row.profiled_at = event.attributes, event.updated_at
                effects.absorbed += 1
            else:
                effects.duplicates += 1
        effects.strays += strays_of(record, decoded, elsewhere)

    def _forget(self, record: Record, effects: Effects) -> None:
        user_id = self._reader.removed_by_key(PROFILES, record.key)
        if isinstance(user_id, Refusal):
            effects.refused.append(Refused(record, user_id))
            return
        if partition_of(user_id, self._partitions) != self.partition:
            effects.strays.append(Stray(record.topic, user_id.encode(), None, record.first_ms))
            return
        known, row = self._forgotten.get(user_id), self.rows.get(user_id)
        if known is not None and record.came_at_ms >= 0 and record.first_ms <= known.forgotten_at_ms:
            effects.duplicates += 1  # moved here again: what came since is not meant
            return
        if known is None or known.offset < record.offset:
            known = Forgotten(user_id=user_id, offset=record.offset, forgotten_at_ms=record.first_ms)
            self._forgotten[user_id] = known
        if row is None or row.life < known.offset:
            self.rows.stage(user_id, None)
        effects.forgotten.append(known)
        effects.absorbed += 1


def _bundles(frames: list[SignalFrame], traced: Container[int]) -> Iterator[list[SignalFrame]]:
    """What is in each record for one item partition: its frames in order, some together."""
    held: list[SignalFrame] = []
    signals = 0
    for frame in frames:
        if held and traced and _part(held[-1].origin.offset, frame.origin.offset, traced):
            yield held
            held, signals = [], 0
        held.append(frame)
        signals += len(frame.signals)
        if signals >= CHUNK:
            yield held
            held, signals = [], 0
    if held:
        yield held


def _part(before: int, offset: int, traced: Container[int]) -> bool:
    """Whether what two records cause must not travel together."""
    return before != offset and (before in traced or offset in traced)
