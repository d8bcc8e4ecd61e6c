"""Records: what an agent takes from the log, and what it wants sent because of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from store.events import Decoded, Engagement, Profile, Refusal, Upload, raw_events


class Record(NamedTuple):
    """One record of a partition. `acknowledge` may be called once everything that it causes is safe."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    acknowledge: Callable[[], None]


ReadHole = Callable[[str, int, int], AsyncIterator[Record]]
"""Reads (topic, partition) from an offset to the end of the log, past the agents."""


class Refused(NamedTuple):
    """A refusal with the record that it lay in."""

    record: Record
    refusal: Refusal


class Stray(NamedTuple):
    """An event found in a partition that is not its key's: to be published again under its own key."""

    topic: str
    key: bytes
    value: bytes | None


def strays_of(
    record: Record,
    decoded: Decoded[Upload] | Decoded[Engagement] | Decoded[Profile],
    elsewhere: list[tuple[int, str]],
) -> list[Stray]:
    """Strays with their bytes as published, unknown fields included; `elsewhere`: (index of the event, its key)."""
    if not elsewhere:
        return []
    raw = decoded.raw if decoded.raw is not None else raw_events(record.value or b"")
    return [Stray(record.topic, key.encode(), raw[index]) for index, key in elsewhere]


@dataclass(slots=True)
class Effects:
    """What absorbing some records leads to. `signals`: (item partition, key, frame); `absorbed` and `duplicates` count
    events, not records; `examples` are encoded ranking examples and outcomes of what was shown, by user id."""

    signals: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    examples: list[tuple[str, bytes]] = field(default_factory=list)
    absorbed: int = 0
    duplicates: int = 0
