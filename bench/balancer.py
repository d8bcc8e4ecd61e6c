"""A balancer without retries, and what the people behind it notice.

It polls `/readyz` every half second, sends each request to the next worker that was ready, and never tries again.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp

from bench.path_figures import quantiles

POLL_S = 0.5
POLL_TIMEOUT_S = 1.0
REFUSED = ("refused", "status 503")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it was sent, how long it took, and how it ended (`ok`, `degraded` or what went wrong)."""

    at_s: float
    took_s: float
    ended: str


@dataclass(eq=False)
class Balancer(threading.Thread):
    """Sends requests at a steady rate to workers that are ready. `silent_polls`: so many polls in a row that nobody
    answers in time, and a worker is taken for gone; who says that it is not ready, or refuses, is at once."""

    urls: Sequence[str]
    rate: float
    users: int
    silent_polls: int = 1
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._ready = dict.fromkeys(self.urls, True)
        self._ended = threading.Event()

    def run(self) -> None:
        asyncio.run(self._run())

    def end(self) -> None:
        self._ended.set()
        self.join(30)

    def forget(self) -> None:
        """Begins a new row."""
        self.asked.clear()

    def since(self, at_s: float) -> list[Asked]:
        """Requests that were sent from then on and have ended."""
        return [one for one in list(self.asked) if one.at_s >= at_s]

    def until_calm(self, at_s: float, calm_s: float, longest_s: float) -> float | None:
        """Waits until nothing that was sent in the last `calm_s` was degraded, `longest_s` at most. Seconds from `at_s`
        until the last request was sent whose answer was degraded; None if none was."""
        while True:
            degraded_s = [one.at_s - at_s for one in self.since(at_s) if one.ended == "degraded"]
            last_s = max(degraded_s, default=0.0)
            now_s = time.monotonic() - at_s
            if now_s > longest_s or now_s - last_s > calm_s:
                return last_s if degraded_s else None
            time.sleep(0.1)

    async def _run(self) -> None:
        timeout, connector = aiohttp.ClientTimeout(total=10), aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
            asyncio.TaskGroup() as tasks,
        ):
            polls = [tasks.create_task(self._poll(session, url)) for url in self.urls]
            began = time.monotonic()
            turns = itertools.cycle(self.urls)
            for number in itertools.count():
                if self._ended.is_set():
                    break
                await asyncio.sleep(max(0.0, began + number / self.rate - time.monotonic()))
                url = next((url for url in itertools.islice(turns, len(self.urls)) if self._ready[url]), self.urls[0])
                tasks.create_task(self._ask(session, url, number))
            for poll in polls:
                poll.cancel()

    async def _poll(self, session: aiohttp.ClientSession, url: str) -> None:
        timeout, silent = aiohttp.ClientTimeout(total=POLL_TIMEOUT_S), 0
        while True:
            try:
                async with session.get(f"{url}/readyz", timeout=timeout) as response:
                    self._ready[url], silent = response.status == 200, 0
            except TimeoutError:
                silent += 1
                self._ready[url] &= silent < self.silent_polls
            except aiohttp.ClientError:
                self._ready[url] = False
            await asyncio.sleep(POLL_S)

    async def _ask(self, session: aiohttp.ClientSession, url: str, number: int) -> None:
        began = time.monotonic()
        ended = await _ending(session, f"{url}/v1/recommend?user_id=user-{number * 7 % self.users}")
        self.asked.append(Asked(began, time.monotonic() - began, ended))


async def _ending(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url) as response:
            if response.status != 200:
                return f"status {response.status}"
            return "degraded" if (await response.json())["degraded"] else "ok"
    except aiohttp.ClientConnectorError:
        return "refused"
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__


def figures(asked: Sequence[Asked]) -> dict[str, object]:
    """What became of these requests: `refused` are those that nobody took (no connection, or 503), `failed` others
    without an answer."""
    endings = [one.ended for one in asked]
    refused = sum(map(endings.count, REFUSED))
    degraded = endings.count("degraded")
    waits = quantiles([one.took_s for one in asked])
    return {
        "requests": len(asked),
        "refused": refused,
        "failed": len(asked) - refused - degraded - endings.count("ok"),
        "degraded": degraded,
        "degraded %": round(100 * degraded / max(1, len(asked)), 1),
        **{name: value for name, value in waits.items() if name != "count"},
    }
