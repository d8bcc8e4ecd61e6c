"""A recorded stream told to a running system in event order, up to a moment at which the system is then asked.

Invariant: when `reach` returns, the scorer that answers has felt everything before that moment and nothing after it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from store.events import Engagement, Upload
from store.requests import Answer
from store.settings import Settings
from stream.client.client import Client, NotFoundError
from stream.client.publisher import Publisher
from trainer.examples import request_of

PACE_EVERY = 100


class NotFeltError(TimeoutError):
    """What was published did not reach the scorer: look at the worker's log, and at `sidestream status`."""


@dataclass
class ServedStream:
    """A stream and the system that it is told to. `place` engagements and `uploaded` uploads are published."""

    uploads: list[Upload]
    engagements: list[Engagement]
    settings: Settings
    url: str
    place: int = 0
    uploaded: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _known: set[str] = field(default_factory=set)
    _touched: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.publisher = Publisher(settings=self.settings)
        self.client = Client(self.url, timeout_s=30.0)

    def reach(self, place: int, *, rate: float = 0.0, told: Callable[[int], None] = lambda _: None) -> None:
        """Publishes everything before the engagement at `place`, `rate` a second (0: as fast as it goes), and waits
        until all of it is felt."""
        began, first = time.perf_counter(), self.place
        new: list[str] = []
        while self.place < place:
            event = self.engagements[self.place]
            new += self._upload_until(event.occurred_at)
            self.publisher.engagement(event)
            self._note(event)
            self.place += 1
            if rate and self.place % PACE_EVERY == 0:
                time.sleep(max(0.0, began + (self.place - first) / rate - time.perf_counter()))
                told(self.place)
        if place < len(self.engagements):
            new += self._upload_until(self.engagements[place].occurred_at)
        self.publisher.flush()
        self._await(new)

    def top(self, place: int, k: int = 10) -> Answer:
        """The answer to the request that the engagement at `place` answers."""
        request = msgspec.structs.replace(request_of(self.engagements[place]), k=k)
        return self.client.recommend_many([msgspec.structs.asdict(request)])[0]

    def close(self) -> None:
        self.publisher.close()
        self.client.close()

    def _upload_until(self, now_s: float) -> list[str]:
        new: list[str] = []
        while self.uploaded < len(self.uploads) and self.uploads[self.uploaded].uploaded_at <= now_s:
            self.publisher.upload(self.uploads[self.uploaded])
            new.append(self.uploads[self.uploaded].item_id)
            self.uploaded += 1
        return new

    def _note(self, event: Engagement) -> None:
        if event.event_id not in self._known:
            self._known.add(event.event_id)
            self._counts[event.item_id] += 1
            self._touched.add(event.item_id)

    def _await(self, uploaded: list[str], timeout_s: float = 300.0) -> None:
        end = time.monotonic() + timeout_s
        waiting = {*self._touched, *uploaded}
        live = set(uploaded)
        while waiting:
            waiting = {item for item in waiting if not self._felt(item, item in live)}
            if waiting and time.monotonic() > end:
                raise NotFeltError(
                    f"{len(waiting)} items not up to date after {timeout_s:g} s, {next(iter(waiting))} one"
                )
            if waiting:
                time.sleep(0.02)
        self._touched.clear()

    def _felt(self, item_id: str, live: bool) -> bool:
        try:
            found = self.client.item(item_id)
        except NotFoundError:
            return False
        return (found["live"] or not live) and sum(found["counters"].values()) >= self._counts[item_id]
