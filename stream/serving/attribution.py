"""Attribution: which engagements answer to which lines that this worker has shown.

A share of the answers is published with the features of their lines (`Shown`), so that the ranker learns from what was
shown and not touched. An engagement that names such a request, or that meets a line shown here within the window, is
published as its `ImpressionOutcome`. Whether a request belongs to the share is a function of its id, so any worker can
tell: an engagement that names its request finds it even if the user's partition has moved since. One that does not is
known by user and item only to the worker that showed it.

Invariant: memory is bounded; an outcome may be published again when its record is read again, and changes nothing then.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from store.events import Engagement
from store.records.peer_messages import ShownAnswer
from store.requests import Request
from trainer.answers import Served
from trainer.ranking.columns import NAMES
from trainer.ranking.example import Example
from trainer.ranking.impressions import Shown, outcome_of, shown_alone
from trainer.reasons import EXPLORE

MOST_LINES = 100_000
MOST_HITS, MOST_WORKERS = 1000, 100
"""Lines that wait to be told to a worker that has shown them, and such workers."""


@dataclass(frozen=True, slots=True)
class _Line:
    request_id: str
    shown_at: float
    published: bool
    explored: bool
    by: str = ""


class Attribution:
    """What was shown lately, by user and item, here and by workers that told of it. `told(item, explored)` hears of
    each line that was shown here and engaged with positively, once; `hits` counts them, and `explored_hits` those that
    were shown for what they teach. Who showed a line elsewhere is told of it when it asks (`take_hits`)."""

    def __init__(self, share: float, window_s: float, told: Callable[[str, bool], None] = lambda *_: None) -> None:
        self.hits = 0
        self.explored_hits = 0
        self._told = told
        self._share = share
        self._window_s = window_s
        self._lines: OrderedDict[tuple[str, str], _Line] = OrderedDict()
        self._hit: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._hits_elsewhere: dict[str, list[tuple[str, bool]]] = {}

    def published(self, request_id: str) -> bool:
        """Whether the lines of this request are published."""
        return zlib.crc32(request_id.encode()) < self._share * 2.0**32

    def serve(self, request: Request, served: Served) -> bytes | None:
        """Notes an answer; returns its `Shown` record if it is to be published."""
        answer = served.answer
        if not request.user_id or not answer.items:
            return None
        published = self.published(answer.request_id)
        for item in answer.items:
            line = _Line(answer.request_id, served.now_s, published, item.source == EXPLORE)
            self._note(request.user_id, item.item_id, line)
        if not published or not len(served.x_KF):  # the lines of a fallback have no features to learn from
            return None
        shown = Shown(
            request_id=answer.request_id,
            user_id=request.user_id,
            task=request.task,
            shown_at=served.now_s,
            item_ids=[item.item_id for item in answer.items],
            columns=len(NAMES),
            features=served.x_KF.astype("<f2").tobytes(),
        )
        return msgspec.msgpack.encode(shown)

    def shown_by(self, url: str, shown: ShownAnswer) -> None:
        """Notes an answer that another worker has given to a user who is at home here."""
        published = self.published(shown.request_id)
        for place, item_id in enumerate(shown.item_ids):
            line = _Line(shown.request_id, shown.shown_at, published, place == shown.explored, url)
            self._note(shown.user_id, item_id, line)

    def take_hits(self, url: str) -> list[tuple[str, bool]]:
        """Lines that the worker at `url` has shown and that were engaged with since it asked last."""
        return self._hits_elsewhere.pop(url, [])

    def hit(self, item_id: str, explored: bool) -> None:
        """A line that was shown here was engaged with positively."""
        self.hits += 1
        self.explored_hits += explored
        self._told(item_id, explored)

    def forget(self, user_id: str) -> None:
        """Drops what was shown to a user."""
        for key in [key for key in self._lines if key[0] == user_id]:
            del self._lines[key]

    def elsewhere(self, event: Engagement, example: Example) -> bytes:
        """An `impression` event of a line that was shown by others, as a request of one line."""
        shown = shown_alone(event, example.task, example.columns, example.features)
        self._note(event.user_id, event.item_id, _Line(shown.request_id, event.occurred_at, True, False))
        return msgspec.msgpack.encode(shown)

    def outcome(self, event: Engagement, weight: float) -> bytes | None:
        """What an engagement says of a shown line, encoded; None if it is of no published one."""
        line = self._lines.get((event.user_id, event.item_id))
        named = event.request_id is not None and self.published(event.request_id)
        if line is None and not named:
            return None
        if line is not None and (line.request_id == event.request_id or self._within(line, event)):
            self._count(event, weight, line)
            if line.published:
                return msgspec.msgpack.encode(outcome_of(event, weight, line.request_id))
        return msgspec.msgpack.encode(outcome_of(event, weight, event.request_id)) if named else None

    def shown_here(self, event: Engagement) -> bool:
        """Whether the event's item was shown to its user by this worker lately."""
        line = self._lines.get((event.user_id, event.item_id))
        return line is not None and self._within(line, event)

    def _within(self, line: _Line, event: Engagement) -> bool:
        return line.shown_at <= event.occurred_at <= line.shown_at + self._window_s

    def _count(self, event: Engagement, weight: float, line: _Line) -> None:
        key = (line.request_id, event.item_id)
        if weight > 0 and key not in self._hit:
            self._hit[key] = None
            if line.by:
                self._keep_hit(line, event.item_id)
            else:
                self.hit(event.item_id, line.explored)
            while len(self._hit) > MOST_LINES:
                self._hit.popitem(last=False)

    def _keep_hit(self, line: _Line, item_id: str) -> None:
        """For who showed it; one that has gone never asks, so others make room."""
        waiting = self._hits_elsewhere.setdefault(line.by, [])
        if len(waiting) < MOST_HITS:
            waiting.append((item_id, line.explored))
        while len(self._hits_elsewhere) > MOST_WORKERS:
            del self._hits_elsewhere[next(iter(self._hits_elsewhere))]

    def _note(self, user_id: str, item_id: str, line: _Line) -> None:
        self._lines.pop((user_id, item_id), None)
        self._lines[user_id, item_id] = line
        while len(self._lines) > MOST_LINES:
            self._lines.popitem(last=False)
