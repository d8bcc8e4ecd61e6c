"""Impressions: what was shown, waiting to be told what became of it.

A scorer publishes the lines of an answer with their features (`Shown`), and later each engagement that may answer to a
shown line (`ImpressionOutcome`). Here they meet: a line's request is open for `window_s` of event time; when the window
closes it becomes an `Impression`, and what nobody touched becomes a negative: only then. What comes later corrects it,
and it is given out once more under the same key. An outcome finds its line by `request_id`, at any time, or else by
user and item while the window lasts.

What is known of a line is four numbers that only grow, joined by maximum. So a record seen twice changes nothing, and
the order of records that name their request changes nothing but the moment at which it is known.

Invariants: no impression is given out before its window closed; each is given out once, and once more after each
change; memory is bounded by the rules.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

import msgspec
import numpy as np

from store.events import Engagement
from store.records.foreign import is_time

SEEN, POSITIVE, COMPLETED, NEGATIVE = range(4)
"""Columns of what is known of a line. `SEEN`: an `impression` event vouches for it. `COMPLETED` is -1 while no
engagement could have told; the others are 0 until one says otherwise."""
UNTOLD = np.array([0, 0, -1, 0], np.int8)


class Shown(msgspec.Struct, kw_only=True, frozen=True, tag="shown"):
    """An answer as it was shown: a record on `ranking-examples`. `features` holds float16 rows, one for each item."""

    request_id: str
    user_id: str
    task: str
    shown_at: float
    item_ids: list[str]
    columns: int
    features: bytes

    def fault(self) -> str:
        """Why no scorer can have shown this; empty if one can."""
        if not is_time(self.shown_at) or self.columns <= 0:
            return "a time or features that are none"
        whole = len(self.features) == 2 * self.columns * len(self.item_ids)
        return "" if whole and not np.isinf(np.frombuffer(self.features, "<f2")).any() else "features that are none"


class ImpressionOutcome(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, tag="outcome"):
    """An engagement that may answer to a shown line: a record on `ranking-examples`."""

    user_id: str
    item_id: str
    kind: str
    occurred_at: float
    weight: float
    value: float | None = None
    request_id: str | None = None

    def fault(self) -> str:
        """Why no engagement can have caused this; empty if one can."""
        possible = is_time(self.occurred_at) and isfinite(self.weight) and isfinite(self.value or 0.0)
        return "" if possible else "a time or a weight that is none"


def shown_alone(event: Engagement, task: str, columns: int, features: bytes) -> Shown:
    """An `impression` event of what others have shown, as a request of one line; `features` begins with its row."""
    return Shown(
        request_id=f"event/{event.event_id}",
        user_id=event.user_id,
        task=task,
        shown_at=event.occurred_at,
        item_ids=[event.item_id],
        columns=columns,
        features=features[: 2 * columns],
    )


def outcome_of(event: Engagement, weight: float, request_id: str | None) -> ImpressionOutcome:
    """What an engagement says of the line that it answers to."""
    return ImpressionOutcome(
        user_id=event.user_id,
        item_id=event.item_id,
        kind=event.kind,
        occurred_at=event.occurred_at,
        weight=weight,
        value=event.value,
        request_id=request_id,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Impression:
    """The lines of a request whose window has closed: features (float16, K × F) and what is known of each (K × 4)."""

    request_id: str
    task: str
    shown_at: float
    x_KF: np.ndarray
    told_K4: np.ndarray

    def counting(self) -> np.ndarray:
        """Which lines count (K): all, or, where `impression` events tell what was seen, those and the engaged ones."""
        seen_K = self.told_K4[:, SEEN] > 0
        engaged_K = (self.told_K4[:, 1:] > UNTOLD[1:]).any(axis=1)
        return np.asarray(seen_K | engaged_K | ~seen_K.any())


@dataclass(frozen=True, kw_only=True, slots=True)
class ImpressionRules:
    """`completed`: kind → the least value that counts as completed. At most `waiting` requests are open (what comes
    while there are as many is passed over: a sample is left, with whole windows), `remembered` closed ones can still be
    corrected, and `early` outcomes wait for what they answer to."""

    window_s: float = 1800.0
    completed: Mapping[str, float] = field(default_factory=dict)
    waiting: int = 10_000
    remembered: int = 10_000
    early: int = 5_000


@dataclass(slots=True)
class _Request:
    user_id: str
    item_ids: list[str]
    impression: Impression
    closes_at: float
    closed: bool = False


class Impressions:
    """Shown lines by request, open and closed."""

    def __init__(self, rules: ImpressionRules = ImpressionRules()) -> None:
        self.rules = rules
        self.passed_over = 0
        self._open: OrderedDict[str, _Request] = OrderedDict()
        self._closed: OrderedDict[str, _Request] = OrderedDict()
        self._closings: list[tuple[float, str]] = []
        self._latest: dict[tuple[str, str], str] = {}
        self._early: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
        self._corrected: dict[str, None] = {}

    def __len__(self) -> int:
        """Requests that are kept."""
        return len(self._open) + len(self._closed)

    def show(self, shown: Shown) -> None:
        """Takes in an answer; one that is known already changes nothing."""
        name = shown.request_id
        if name in self._open or name in self._closed:
            return
        if len(self._open) >= self.rules.waiting:
            self.passed_over += 1
            return
        x_KF = np.frombuffer(shown.features, "<f2").reshape(len(shown.item_ids), shown.columns)
        told_K4 = np.tile(UNTOLD, (len(x_KF), 1))
        impression = Impression(name, shown.task, shown.shown_at, x_KF, told_K4)
        closes_at = shown.shown_at + self.rules.window_s
        self._open[name] = _Request(shown.user_id, shown.item_ids, impression, closes_at)
        heapq.heappush(self._closings, (closes_at, name))
        for place, item_id in enumerate(shown.item_ids):
            self._latest[shown.user_id, item_id] = name
            early = self._early.pop((name, item_id), None)
            if early is not None:
                np.maximum(told_K4[place], early, out=told_K4[place])

    def engage(self, outcome: ImpressionOutcome) -> None:
        """Takes in an engagement."""
        told_4 = self._said(outcome)
        name = outcome.request_id
        request = self._open.get(name or "") or self._closed.get(name or "") or self._within_window(outcome)
        if request is not None and outcome.item_id in request.item_ids:
            self._tell(request, request.item_ids.index(outcome.item_id), told_4)
        elif name is not None and request is None:
            key = (name, outcome.item_id)
            self._early[key] = np.maximum(self._early.pop(key, UNTOLD), told_4)
            while len(self._early) > self.rules.early:
                self._early.popitem(last=False)

    def advance(self, now_s: float) -> list[Impression]:
        """Impressions whose window has closed by `now_s`, and those that were corrected since the last call."""
        found = [self._closed[name].impression for name in self._corrected if name in self._closed]
        self._corrected.clear()
        while self._closings and self._closings[0][0] <= now_s:
            _, name = heapq.heappop(self._closings)
            request = self._closed[name] = self._open.pop(name)
            request.closed = True
            found.append(request.impression)
        while len(self._closed) > self.rules.remembered:
            self._forget_oldest()
        return found

    def _said(self, outcome: ImpressionOutcome) -> np.ndarray:
        least = self.rules.completed.get(outcome.kind)
        completed = -1 if least is None or outcome.value is None else int(outcome.value >= least)
        return np.array([outcome.kind == "impression", outcome.weight > 0, completed, outcome.weight < 0], np.int8)

    def _within_window(self, outcome: ImpressionOutcome) -> _Request | None:
        name = self._latest.get((outcome.user_id, outcome.item_id), "")
        request = self._open.get(name) or self._closed.get(name)
        if request is None or not request.impression.shown_at <= outcome.occurred_at <= request.closes_at:
            return None
        return request

    def _tell(self, request: _Request, place: int, told_4: np.ndarray) -> None:
        line_4 = request.impression.told_K4[place]
        if (told_4 > line_4).any():
            np.maximum(line_4, told_4, out=line_4)
            if request.closed:
                self._corrected[request.impression.request_id] = None

    def _forget_oldest(self) -> None:
        name, request = self._closed.popitem(last=False)
        for item_id in request.item_ids:
            if self._latest.get((request.user_id, item_id)) == name:
                del self._latest[request.user_id, item_id]
