"""The stream of a demonstration: a simulated population, or a recorded folder, with what the acts need to know of it.

The last events are held back, and go on at a gentle pace while the acts play: a system that nothing happens in shows
little.

Invariant: events come in event time, and `now` never lies before what was published: whatever the demonstration adds
comes neither from the stream's past nor from its future.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from store.events import Engagement, Upload
from store.topics import ENGAGEMENTS, UPLOADS
from stream.client.recordings import Recorded, read_stream
from stream.demo.population import Census, Population

SIMULATED_EVENTS = 45_000
HELD_BACK = 5_000
LIVE_PER_S = 40.0
REMEMBERED_PEOPLE = 400
REMEMBERED_ACTS = 4_000


class DemoStream:
    """Events with memory of what went by: the active people, what they liked, the newest uploads."""

    def __init__(self, name: str, events: Iterator[Recorded], held_back: int = HELD_BACK) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self._events = events
        self._held: deque[Recorded] = deque()
        self._held_back = held_back
        self._at, self._wall = 0.0, time.time()
        self._people: OrderedDict[str, None] = OrderedDict()
        self._acts: deque[_Act] = deque(maxlen=REMEMBERED_ACTS)
        self._uploads: dict[str, bytes] = {}

    def history(self) -> Iterator[Recorded]:
        """Every event but the last ones, once."""
        for event in self._events:
            self._held.append(event)
            if len(self._held) > self._held_back:
                yield self._passed(self._held.popleft())

    def live(self) -> Iterator[Recorded]:
        """The last ones, once."""
        while self._held:
            yield self._passed(self._held.popleft())

    @property
    def now(self) -> float:
        """Event time: that of the newest event published, and the wall time since."""
        return self._at + (time.time() - self._wall)

    def people(self, limit: int) -> list[str]:
        """The most recently active users, newest first."""
        return list(islice(reversed(self._people.copy()), limit))

    def popular(self) -> list[dict[str, Any]]:
        """Uploads of the items that most of the newest engagements are with, most frequent first."""
        ranked = Counter(act.item_id for act in list(self._acts) if act.kind != "impression").most_common(50)
        return [msgspec.json.decode(self._uploads[item]) for item, _ in ranked if item in self._uploads]

    def fans(self, item_id: str) -> list[str]:
        """Who engaged with the item lately, newest first, each once."""
        acts = reversed(list(self._acts))
        return list(dict.fromkeys(act.user_id for act in acts if act.item_id == item_id and act.kind != "impression"))

    def _passed(self, event: Recorded) -> Recorded:
        self.counts[event.topic] += 1
        self._at, self._wall = event.at, time.time()
        if event.topic == UPLOADS:
            self._uploads[msgspec.json.decode(event.value, type=_Item).item_id] = event.value
            return event
        act = msgspec.json.decode(event.value, type=_Act)
        self._people.pop(act.user_id, None)
        self._people[act.user_id] = None
        if len(self._people) > REMEMBERED_PEOPLE:
            self._people.popitem(last=False)
        self._acts.append(act)
        return event


class _Act(msgspec.Struct):
    user_id: str
    item_id: str
    kind: str


class _Item(msgspec.Struct):
    item_id: str


class Feed:
    """Publishes the live events at a steady pace from a thread of its own; `quiet` holds it for a while."""

    def __init__(self, stream: DemoStream, publish: Callable[[Recorded], Any], per_s: float = LIVE_PER_S) -> None:
        self._stream, self._publish, self._per_s = stream, publish, per_s
        self._free = threading.Event()
        self._free.set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-feed", daemon=True)
        self.error: Exception | None = None

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._free.set()
        self._thread.join()

    def hold(self) -> None:
        """Nothing more is published until `go_on`."""
        self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    def _run(self) -> None:
        try:
            for event in self._stream.live():
                self._free.wait()
                if self._ended.wait(1.0 / self._per_s):
                    return
                self._publish(event)
        except Exception as error:  # told by whoever ends the feed: a thread has nobody to tell
            self.error = error


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
    topic = UPLOADS if isinstance(event, Upload) else ENGAGEMENTS
    return Recorded(_time(event), topic, msgspec.json.encode(event))
