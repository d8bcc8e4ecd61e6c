"""Owners: which worker has which partition, as the workers have announced it, and what each says of itself.

An announcement stays until the next owner's: a worker that died is known by its silence, so each is asked.

Invariant: a partition that nobody announced has no owner, and a worker that does not answer is not ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from store.topics import ENGAGEMENTS, ITEM_SIGNALS, RECOMMEND_REQUESTS, UPLOADS
from stream.ingest.assignment import Assignment
from stream.metrics.metrics import Metrics
from stream.serving.scorer import Scorer

ASKED_AGAIN_S = 5.0
MOST_WORKERS = 100

Ready = Callable[[str], Awaitable[tuple[bool | None, str]]]


class Owners:
    """Of one worker's sight. `ready` asks another one; `own_ready` is what this one says; `answerers`: workers that
    answer, with partitions or without."""

    def __init__(
        self,
        *,
        scorer: Scorer,
        assignment: Assignment,
        metrics: Metrics,
        partitions: int,
        own_url: Callable[[], str],
        own_ready: Callable[[], tuple[bool, str]],
        ready: Ready,
        answerers: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._answerers = answerers
        self._scorer = scorer
        self._assignment = assignment
        self._metrics = metrics
        self._partitions = partitions
        self._own_url = own_url
        self._own_ready = own_ready
        self._ready = ready
        self._asked_at = -ASKED_AGAIN_S
        self._said: dict[str, tuple[bool | None, str]] = {}

    async def told(self) -> dict[str, Any]:
        """Partitions with their owners, workers, and the canaries of each partition."""
        urls = dict(self._scorer.owner_urls)
        everybody = {*urls.values(), *self._answerers(), self._own_url()}
        await self._ask(everybody - {self._own_url()})
        here = {agent: self._assignment.numbers(agent) for agent in _AGENTS}
        return {
            "here": self._own_url(),
            "generation": self._assignment.generation,
            "partitions": [
                {
                    "partition": number,
                    "url": urls.get(number),
                    "here": [agent for agent in _AGENTS if number in here[agent]],
                    "lag": self._lag(number),
                }
                for number in range(self._partitions)
            ],
            "workers": [self._worker(url, urls) for url in sorted(everybody)],
            "canaries": self._canaries(),
        }

    def _worker(self, url: str, urls: dict[int, str]) -> dict[str, Any]:
        mine = url == self._own_url()
        ready, reason = self._own_ready() if mine else self._said.get(url, (None, "not asked yet"))
        owned = sorted(number for number, owner in urls.items() if owner == url)
        return {"url": url, "here": mine, "ready": ready, "reason": reason, "partitions": owned}

    async def _ask(self, urls: set[str]) -> None:
        if time.monotonic() - self._asked_at < ASKED_AGAIN_S and urls <= self._said.keys():
            return
        self._asked_at = time.monotonic()
        some = sorted(urls)[:MOST_WORKERS]
        self._said = dict(zip(some, await asyncio.gather(*map(self._ready, some)), strict=True))

    def _lag(self, number: int) -> dict[str, int]:
        return {topic: events for (topic, at), events in self._metrics.lag_by_partition().items() if at == number}

    def _canaries(self) -> list[dict[str, Any]]:
        ages_s, told = self._metrics.canaries.ages_s(), self._metrics.canaries.snapshot()
        return [
            {
                "stage": stage,
                "overdue_after_s": each["overdue_after_s"],
                "missing": each["missing"],
                "ages_s": {str(number): age_s for number, age_s in ages_s.get(stage, {}).items()},
            }
            for stage, each in told.items()
        ]


_AGENTS = (UPLOADS, ENGAGEMENTS, ITEM_SIGNALS, RECOMMEND_REQUESTS)
