"""Kept answers: the same request of the same user, asked again within some seconds, where its task allows that.

An answer is kept with what its user's row said when it was asked for: how far it is in the log, and of which profile.
So an engagement, an impression or a profile of the user that has been absorbed since (a row's offset moves with each)
ends it, without anybody being told, as does all that ends a list (`trainer.tables.lists`): another checkpoint, another
ranker, a take-down or an edit of one of its items, their engagements, uploads, time. What is short, late, degraded or
explores is not kept, and when it is a request's turn to explore the answer is made anew.

Invariant: no more than `most` answers are kept; whoever asks reads what they wrote.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from store.histories import UserRow
from store.requests import Note, Request, Task
from trainer.answers import Served
from trainer.reasons import EXPLORE
from trainer.recommender import Recommender
from trainer.tables.lists import Listed, holds, listed_from

MOST = 2000
"""Answers that are kept, some 9 KiB each with ten lines."""
Stamp = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer will be kept: under its request, by what was known when that came."""

    request: Request
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class KeptFound:
    """`place`: None where answers of the task are not kept; `served`: the kept answer; `explores`: True where a new one
    is to be made, as it is its turn to explore."""

    place: Place | None = None
    served: Served | None = None
    explores: bool | None = None


NOT_KEPT = KeptFound()


class KeptAnswers:
    """Of one recommender. `seconds`: how long, by task; 0 is not at all. One thread uses it."""

    def __init__(
        self,
        recommender: Recommender,
        seconds: Mapping[Task, float],
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recommender = recommender
        self._seconds = {task: kept_s for task, kept_s in seconds.items() if kept_s > 0}
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[Request, tuple[Stamp, Listed, Served]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, request: Request, user: UserRow | None) -> KeptFound:
        """The kept answer to a request, under an id of its own; or where the new one will be kept."""
        kept_s = self._seconds.get(request.task, 0.0)
        if not kept_s:
            return NOT_KEPT
        key = msgspec.structs.replace(request, within_ms=None)
        place = Place(key, self._stamp(user))
        kept = self._kept.get(key)
        if kept is None:
            return KeptFound(place)
        stamp, listed, served = kept
        if stamp != place.stamp or not holds(listed, self._recommender.catalog, kept_s, self._clock()):
            del self._kept[key]
            return KeptFound(place)
        exploration, now_s = self._recommender.exploration, self._recommender.now_s
        if listed.may_explore and exploration.due(request, now_s, len(listed.items)):
            return KeptFound(place, explores=True)
        exploration.note(listed.handles_K, explored=False)
        return KeptFound(place, self._again(request, served, listed))

    def keep(self, place: Place, served: Served) -> None:
        """Keeps the answer that was made for a place, if it is worth it."""
        answer = served.answer
        if answer.notes or answer.degraded or any(line.source == EXPLORE for line in answer.items):
            return
        rules = self._recommender.rules.of_task(place.request.task)
        listed = listed_from(
            self._recommender.catalog,
            place.request.item_id,
            served,
            made_at_s=self._clock(),
            may_explore=not rules.least_click,
        )
        self._kept.pop(place.request, None)
        self._kept[place.request] = (place.stamp, listed, served)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def forget(self, user_id: str) -> None:
        """Drops what a user was answered."""
        for request in [request for request in self._kept if request.user_id == user_id]:
            del self._kept[request]

    def _again(self, request: Request, served: Served, listed: Listed) -> Served:
        began_s = self._clock()
        text = f"the same answer as {began_s - listed.made_at_s:.1f} s ago: nothing that it rests on has changed since"
        answer = msgspec.structs.replace(
            served.answer,
            request_id=self._recommender.number(request),
            took_ms=(self._clock() - began_s) * 1000.0,
            notes=[Note(reason="cached", text=text)],
        )
        return Served(answer, served.x_KF, self._recommender.now_s)

    def _stamp(self, user: UserRow | None) -> Stamp:
        serving, ranker = self._recommender.serving, self._recommender.ranker
        made_by = serving.checkpoint, serving.codebook.version, ranker.name, id(ranker)
        return made_by if user is None else (*made_by, user.offset, user.profiled_at, user.life)
