"""The stream of a demonstration: a simulated population, or a recorded folder, with what the acts need to know of it.

Invariant: `events` is in event time, and `now` goes on from its end at the pace of the wall clock, so that whatever the
demonstration adds comes neither from the stream's past nor from its future.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from store.events import Engagement, Upload
from stream.population import Census, Population
from stream.recordings import Recorded, read_stream

SIMULATED_EVENTS = 40_000
REMEMBERED = 400


@dataclass(slots=True)
class DemoStream:
    """Events with memory of what went by: the active people, the popular recent items, the newest uploads."""

    name: str
    _events: Iterator[Recorded]
    counts: Counter[str] = field(default_factory=Counter)
    ended_at: float = 0.0
    _ended_wall: float = 0.0
    _people: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _recent: deque[str] = field(default_factory=lambda: deque(maxlen=3000))
    _uploads: dict[str, bytes] = field(default_factory=dict)

    def events(self) -> Iterator[Recorded]:
        """Every event, once."""
        for event in self._events:
            self.counts[event.topic] += 1
            self.ended_at = event.at
            if event.topic == "engagements":
                self._remember(event.value)
            else:
                self._uploads[msgspec.json.decode(event.value, type=_Item).item_id] = event.value
            yield event
        self._ended_wall = time.time()

    @property
    def now(self) -> float:
        """Event time: where the stream ended, and the wall time since."""
        return self.ended_at + (time.time() - self._ended_wall)

    def people(self, limit: int) -> list[str]:
        """The most recently active users, newest first."""
        return list(islice(reversed(self._people), limit))

    def popular(self) -> list[dict[str, Any]]:
        """Uploads of the items that most of the newest engagements are with, most frequent first."""
        ranked = Counter(self._recent).most_common(50)
        return [msgspec.json.decode(self._uploads[item]) for item, _ in ranked if item in self._uploads]

    def _remember(self, value: bytes) -> None:
        act = msgspec.json.decode(value, type=_Act)
        self._people.pop(act.user_id, None)
        self._people[act.user_id] = None
        if len(self._people) > REMEMBERED:
            self._people.popitem(last=False)
        self._recent.append(act.item_id)


class _Act(msgspec.Struct):
    user_id: str
    item_id: str


class _Item(msgspec.Struct):
    item_id: str


def recorded(folder: Path) -> DemoStream:
    """A recorded stream. Raises `RecordingError`."""
    return DemoStream(f"recorded stream {folder.name}", read_stream(folder))


def simulated(events: int = SIMULATED_EVENTS, seed: int = 0) -> DemoStream:
    """A simulated population whose stream ends now."""
    span_s = _time(next(islice(Population(Census(start_at=0.0, seed=seed)), events - 1, None)))
    census = Census(start_at=time.time() - span_s, seed=seed)
    return DemoStream("simulated population", map(_as_recorded, islice(Population(census), events)))


def _time(event: Upload | Engagement) -> float:
    return event.uploaded_at if isinstance(event, Upload) else event.occurred_at


def _as_recorded(event: Upload | Engagement) -> Recorded:
    topic = "uploads" if isinstance(event, Upload) else "engagements"
    return Recorded(_time(event), topic, msgspec.json.encode(event))
