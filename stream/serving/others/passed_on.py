"""Passed on: requests that come over Kafka to a worker that answers nothing, given to those that answer.

Invariant: a request waits until somebody answers it; it is never dropped, nor answered without what ranking needs.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count

from store.reporting.outages import Outage
from store.requests import Answer, Request
from stream.serving.others.answerers import Answerers
from stream.serving.peers import Peers

log = logging.getLogger(__name__)

RETRY_S = 0.5


class PassedOn:
    """Asks one of the workers that answer after the other, each in turn first."""

    def __init__(self, answerers: Answerers, peers: Peers) -> None:
        self._answerers = answerers
        self._peers = peers
        self._turns = count()
        self._nobody = Outage(
            log, "no worker answers requests of recommend-requests", "they wait; start workers of role serve or all"
        )

    async def recommend(self, request: Request) -> Answer:
        """The answer of the first that gives one."""
        while True:
            urls = self._answerers.urls()
            first = next(self._turns) % max(1, len(urls))
            for url in urls[first:] + urls[:first]:
                answer = await self._peers.answer_by(url, request)
                if answer is not None:
                    self._nobody.over()
                    return answer
            self._nobody.met(f"{len(urls)} have said lately that they answer")
            await asyncio.sleep(RETRY_S)
