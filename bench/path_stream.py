"""The stream of `bench.path`: uploads with text, and engagements as frames that are ready to send.

Users are equally busy, items are chosen by Zipf's law; everything is seeded. The last frame of every partition ends
with sentinels: one engagement with a reserved item of each item partition. When a scorer shows all of them, it shows
everything that was sent before, because every stage keeps the order of its partitions.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import msgspec
import numpy as np

from store.events import Upload
from store.keys import partition_of
from store.records.frames import frame
from stream.demo.population import Census, Population

KINDS = ("click", "watch", "impression", "like", "hide")
SHARES = (0.45, 0.30, 0.15, 0.08, 0.02)


@dataclass(frozen=True, slots=True)
class Message:
    """One record to send; `events` is how many it holds."""

    partition: int
    key: bytes
    value: bytes
    events: int


@dataclass
class Stream:
    """A seeded population. `counters` is what every item must have in the end."""

    users: int
    items: int
    partitions: int
    seed: int = 0
    counters: dict[str, Counter[str]] = field(default_factory=dict)
    _events: int = 0
    _marks: int = 0

    def uploads(self, count: int, name: str) -> Iterator[tuple[str, bytes]]:
        """(item, JSON) of new items with titles, descriptions and tags."""
        census = Census(users=10, first_items=count, start_at=time.time() - count, seed=self.seed)
        for number, event in enumerate(islice(Population(census), count)):
            assert isinstance(event, Upload)
            item_id = f"{name}{number}"
            yield item_id, msgspec.json.encode(msgspec.structs.replace(event, item_id=item_id))

    def engagements(self, count: int, framed: int) -> list[Message]:
        """`count` engagements in frames of `framed`, the partitions in turn."""
        self.seed += 1
        rng = np.random.default_rng(self.seed)
        weights = 1.0 / np.arange(1, self.items + 1)
        items = rng.choice(self.items, count, p=weights / weights.sum()).tolist()
        users = rng.integers(0, self.users, count).tolist()
        kinds = rng.choice(len(KINDS), count, p=SHARES).tolist()
        values = rng.random(count).tolist()
        open_frames: dict[int, list[tuple[str, bytes]]] = {}
        messages = []
        for item, user, kind, value in zip(items, users, kinds, values, strict=True):
            user_id = f"user-{user}"
            partition = partition_of(user_id, self.partitions)
            held = open_frames.setdefault(partition, [])
            held.append((user_id, self._event(user_id, f"item-{item}", KINDS[kind], value)))
            if len(held) == framed:
                messages.append(_message(partition, open_frames.pop(partition)))
        messages += [_message(partition, held) for partition, held in open_frames.items()]
        return messages

    def sentinels(self) -> tuple[list[Message], list[str]]:
        """The last frame of each partition, and the items that show when everything has arrived."""
        self._marks += 1
        messages, marks = [], []
        for partition in range(self.partitions):
            user_id = next(u for n in range(10_000) if partition_of(u := f"user-{n}", self.partitions) == partition)
            events = []
            for item_partition in range(self.partitions):
                names = (f"mark-{self._marks}-{partition}-{item_partition}-{n}" for n in range(10_000))
                mark = next(name for name in names if partition_of(name, self.partitions) == item_partition)
                marks.append(mark)
                events.append((user_id, self._event(user_id, mark, "click", 1.0)))
            messages.append(_message(partition, events))
        return messages, marks

    def _event(self, user_id: str, item_id: str, kind: str, value: float) -> bytes:
        self._events += 1
        self.counters.setdefault(item_id, Counter())[kind] += 1
        return json.dumps(
            {
                "event_id": f"event-{self._events:09d}",
                "user_id": user_id,
                "item_id": item_id,
                "kind": kind,
                "occurred_at": round(time.time(), 3),
                "value": round(value, 3),
                "country": "AT",
                "device": "phone",
            },
            separators=(",", ":"),
        ).encode()


def _message(partition: int, held: list[tuple[str, bytes]]) -> Message:
    return Message(partition, held[0][0].encode(), frame([event for _, event in held]), len(held))
