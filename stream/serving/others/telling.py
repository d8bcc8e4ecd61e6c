"""Telling: what a worker that answers tells the owners of the users and items of which it answers.

Every owner that has announced itself hears every `BEAT_S` that this worker is there, and sooner where there is
something: answers that were shown to its users, items whose rows are needed again. What does not arrive is lost: it
bounds how often a user is answered (the owner writes that into the user's row), and says what engagements answer to.

Invariant: nobody who asked for an answer waits for this, and what waits is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Protocol

from store.records.peer_messages import Heard, ShownAnswer, Told

LOOK_S = 0.1
BEAT_S = 2.0
MOST_WAITING = 10_000
"""Answers for one owner, and items of one partition."""
MOST_LINES_AT_ONCE = 1000
"""Ids in a message: with the longest ids that there may be it stays below what a worker takes."""


class Asked(Protocol):
    """Who carries it to an owner: `stream.serving.peers.Peers`."""

    async def tell(self, url: str, told: Told) -> Heard | None:
        """What the owner tells in return; None if it cannot be reached."""
        ...


class Telling:
    """Of one worker. `owner_urls`: partition → who has announced itself as its owner; `hit(item, explored)` hears of
    lines that this worker has shown."""

    def __init__(
        self,
        peers: Asked,
        owner_urls: Mapping[int, str],
        own_url: Callable[[], str],
        hit: Callable[[str, bool], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._peers = peers
        self._owner_urls = owner_urls
        self._own_url = own_url
        self._hit = hit
        self._clock = clock
        self._shown: dict[int, deque[ShownAnswer]] = {}
        self._wanted: dict[int, dict[str, None]] = {}
        self._told_at: dict[str, float] = {}
        self._answered: dict[str, bool] = {}
        self._others: dict[str, list[str]] = {}

    def shown(self, number: int, shown: ShownAnswer) -> None:
        """An answer was given to a user of this partition."""
        self._shown.setdefault(number, deque(maxlen=MOST_WAITING)).append(shown)

    def wanted(self, number: int, item_id: str) -> bool:
        """The row of an item of this partition is needed again; whether another worker owns it and will hear."""
        if self._owner_urls.get(number, self._own_url()) == self._own_url():
            return False
        waiting = self._wanted.setdefault(number, {})
        if len(waiting) < MOST_WAITING:
            waiting[item_id] = None
        return True

    def answering(self) -> Collection[str]:
        """The owners that answered when they were told last."""
        return {url for url in set(self._owner_urls.values()) if self._answered.get(url)}

    def answerers(self) -> set[str]:
        """Workers that answer, as the owners that answer have heard of them."""
        return {other for url in self.answering() for other in self._others.get(url, ())}

    async def run(self) -> None:
        """Tells until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.tell()

    async def tell(self) -> None:
        """Tells each owner what is due. One that is silent keeps nobody else from hearing."""
        by_url: dict[str, list[int]] = {}
        for number, url in self._owner_urls.items():
            if url != self._own_url():
                by_url.setdefault(url, []).append(number)
        await asyncio.gather(
            *(self._tell(url, numbers) for url, numbers in by_url.items() if self._is_due(url, numbers))
        )

    def _is_due(self, url: str, numbers: list[int]) -> bool:
        pause_s = self._clock() - self._told_at.get(url, float("-inf"))
        if not self._answered.get(url, True):
            return pause_s >= BEAT_S
        return pause_s >= BEAT_S or any(self._shown.get(number) or self._wanted.get(number) for number in numbers)

    async def _tell(self, url: str, numbers: list[int]) -> None:
        told = Told(self._own_url(), self._take_shown(numbers), self._take_wanted(numbers))
        heard = await self._peers.tell(url, told)
        self._told_at[url], self._answered[url] = self._clock(), heard is not None
        if heard is None:
            for number, item_ids in told.wanted.items():
                for item_id in item_ids:
                    self.wanted(number, item_id)
            return
        self._others[url] = heard.answerers
        for item_id, explored in heard.hits:
            self._hit(item_id, explored)

    def _take_shown(self, numbers: list[int]) -> list[ShownAnswer]:
        found: list[ShownAnswer] = []
        lines = 0
        for waiting in [self._shown[number] for number in numbers if number in self._shown]:
            while waiting and lines < MOST_LINES_AT_ONCE:
                found.append(waiting.popleft())
                lines += 1 + len(found[-1].item_ids)
        return found

    def _take_wanted(self, numbers: list[int]) -> dict[int, list[str]]:
        found = {}
        for number in numbers:
            if waiting := self._wanted.get(number):
                found[number] = list(islice(waiting, MOST_LINES_AT_ONCE // len(numbers) + 1))
                for item_id in found[number]:
                    del waiting[item_id]
        return found
