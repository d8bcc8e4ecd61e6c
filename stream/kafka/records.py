"""Records: what an agent takes from the log, and what it wants sent because of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from store.events import Decoded, Engagement, Profile, Refusal, Upload
from store.histories import Entry, UserRow
from store.log import Forgotten
from store.records.frames import raw_events


class Record(NamedTuple):
    """One record of a partition. `acknowledge` may be called once everything that it causes is safe. `came_at_ms`: when
    the broker first had what it holds, if that was moved here or sent again (-1: with this record). `traceparent`: the
    header of that name, as whoever published the record wrote it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    acknowledge: Callable[[], None]
    came_at_ms: int = -1
    traceparent: bytes = b""

    @property
    def first_ms(self) -> int:
        """When the broker first had what the record holds."""
        return self.timestamp_ms if self.came_at_ms < 0 else min(self.came_at_ms, self.timestamp_ms)


ReadHole = Callable[[str, int, int], AsyncGenerator[Record, None]]
"""Reads (topic, partition) from an offset to the end of the log, past the agents."""


class Refused(NamedTuple):
    """A refusal with the record that it lay in."""

    record: Record
    refusal: Refusal


class Stray(NamedTuple):
    """An event found in a partition that is not its key's: to be published again under its own key, with the time at
    which it came (`came_at_ms`): what was taken down or forgotten since is not to come back by that."""

    topic: str
    key: bytes
    value: bytes | None
    came_at_ms: int
    traceparent: bytes = b""


class ReadEngagement(NamedTuple):
    """An engagement as it was read. `is_new`: it was absorbed now, neither earlier nor as a repeated `event_id`. The
    other fields are the row and what it held before: the first `held` of `entries`, `seen` and `refused`."""

    event: Engagement
    is_new: bool
    row: UserRow
    entries: list[Entry]
    held: int
    seen: bytes
    refused: bytes = b""

    def row_before(self) -> UserRow:
        """The user's row as it was when the engagement was read, without it and without what came after."""
        row = self.row
        entries = self.entries[: self.held]
        return UserRow(
            row.offset, entries, self.seen, row.attributes, row.profiled_at, row.life, row.kept, self.refused
        )


def strays_of(
    record: Record,
    decoded: Decoded[Upload] | Decoded[Engagement] | Decoded[Profile],
    elsewhere: list[tuple[int, str]],
) -> list[Stray]:
    """Strays with their bytes as published, unknown fields included; `elsewhere`: (index of the event, its key)."""
    if not elsewhere:
        return []
    raw = decoded.raw if decoded.raw is not None else raw_events(record.value or b"")
    trace = record.traceparent
    return [Stray(record.topic, key.encode(), raw[index], record.first_ms, trace) for index, key in elsewhere]


@dataclass(slots=True)
class Effects:
    """What absorbing some records leads to. `signals`: (item partition, key, frame); `absorbed` and `duplicates` count
    events, not records; `read` are the engagements in order, those that were absorbed earlier too; `dropped` names the
    field of each optional value that was wrong and cost itself; `canary_at_ms`: when the newest canary came (-1: none);
    `traced`: place in `signals` → the offset of the traced record that alone caused it."""

    signals: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    read: list[ReadEngagement] = field(default_factory=list)
    forgotten: list[Forgotten] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    absorbed: int = 0
    duplicates: int = 0
    canary_at_ms: int = -1
    traced: dict[int, int] = field(default_factory=dict)
