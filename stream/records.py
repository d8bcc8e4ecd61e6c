"""Records: what an agent takes from the log, and what it wants sent because of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from store.events import Refusal


class Record(NamedTuple):
    """One record of a partition. `acknowledge` may be called once everything that it causes is safe."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    acknowledge: Callable[[], None]


class Refused(NamedTuple):
    """A refusal with the record that it lay in."""

    record: Record
    refusal: Refusal


class Stray(NamedTuple):
    """An event found in a partition that is not its key's: to be published again under its own key."""

    topic: str
    key: bytes
    value: bytes | None


@dataclass(slots=True)
class Effects:
    """What absorbing some records leads to. `signals`: (item partition, key, frame); `absorbed` and `duplicates` count
    events, not records; `examples` are encoded ranking examples by user id."""

    signals: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    examples: list[tuple[str, bytes]] = field(default_factory=list)
    absorbed: int = 0
    duplicates: int = 0
