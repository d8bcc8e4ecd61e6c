"""A rolling restart and a kill of two workers behind a balancer: what the people who ask notice.

The balancer polls `/readyz` every half second, sends each request to the next worker that was ready, and never tries
again. Beside it the system absorbs engagements.

    python -m bench.rolling_restart                          # embedded broker, 50 requests a second
    python -m bench.rolling_restart --kafka FOLDER_WITH_LIBS
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.path import fill
from bench.path_figures import quantiles
from bench.path_stream import Stream
from bench.path_system import System, send_frames

POLL_S = 0.5
ENGAGED_EVERY_S = 0.1


@dataclass
class Asked:
    """One request: when it was sent, how long it took, and how it ended (`ok`, `degraded` or what went wrong)."""

    at_s: float
    took_s: float
    ended: str


@dataclass(eq=False)
class Balancer(threading.Thread):
    """Sends requests at a steady rate to workers that are ready."""

    urls: Sequence[str]
    rate: float
    users: int
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

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
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
        while True:
            try:
                async with session.get(f"{url}/readyz") as response:
                    self._ready[url] = response.status == 200
            except (aiohttp.ClientError, TimeoutError):
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


class Engaging(threading.Thread):
    """Some engagements all the time."""

    def __init__(self, system: System, stream: Stream) -> None:
        super().__init__(daemon=True)
        self._system, self._stream, self._ended = system, stream, threading.Event()

    def run(self) -> None:
        while not self._ended.wait(ENGAGED_EVERY_S):
            send_frames(self._system, self._stream.engagements(20, framed=20))

    def end(self) -> None:
        self._ended.set()
        self.join(30)


def figures(asked: Sequence[Asked]) -> dict[str, object]:
    """One row of the table."""
    endings = [one.ended for one in asked]
    wrong = {name: endings.count(name) for name in sorted(set(endings) - {"ok", "degraded"})}
    return {
        "requests": len(asked),
        "failed": sum(wrong.values()),
        **wrong,
        "degraded": endings.count("degraded"),
        **{name: value for name, value in quantiles([one.took_s for one in asked]).items() if name != "count"},
    }


def restarted(system: System) -> None:
    """Each worker in turn: asked to stop, started again, waited for."""
    for worker in system.workers:
        assert worker.stop() == 0, worker.log.read_text()[-2000:]
        worker.start()
        worker.await_ready()
        time.sleep(2 * POLL_S)


def killed(system: System, balancer: Balancer, watched_s: float) -> float:
    """Kills the last worker; seconds from then to the last answer that was degraded or failed within `watched_s`."""
    system.workers[-1].kill()
    at_s = time.monotonic()
    time.sleep(watched_s)
    marred = [one.at_s + one.took_s - at_s for one in list(balancer.asked) if one.at_s >= at_s and one.ended != "ok"]
    system.workers[-1].start()
    system.workers[-1].await_ready()
    return max(marred, default=0.0)


def measure(options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """The table: row → figures."""
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), options)
        stream = Stream(options.users, options.items, options.partitions)
        balancer = Balancer([worker.url for worker in system.workers], options.rate, options.users)
        engaging = Engaging(system, stream)
        try:
            fill(system, stream)
            send_frames(system, stream.engagements(options.events, framed=200))
            engaging.start()
            balancer.start()
            time.sleep(options.seconds)
            rows = {"before": figures(list(balancer.asked))}
            balancer.forget()
            restarted(system)
            rows["rolling restart"] = figures(list(balancer.asked))
            balancer.forget()
            healed_s = killed(system, balancer, watched_s=25.0)
            rows["kill -9"] = {**figures(list(balancer.asked)), "whole again after s": round(healed_s, 1)}
        finally:
            for thread in (balancer, engaging):
                if thread.is_alive():
                    thread.end()
            system.stop()
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rolling_restart", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kafka", type=Path, help="real Kafka from this folder, which holds its `libs`")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long before the first restart")
    parser.add_argument("--drain", type=float, default=2.0, help="seconds that a worker answers after SIGTERM")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--events", type=int, default=20_000, help="engagements before the first request")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    options.workers = 2
    if options.kafka:
        os.environ["SIDESTREAM_TEST_KAFKA_HOME"] = str(options.kafka)
    rows = measure(options)
    if options.json:
        print(json.dumps(rows))
    else:
        for name, row in rows.items():
            print(f"{name:<16}" + "  ".join(f"{key} {value}" for key, value in row.items()))
    return 0 if rows["rolling restart"]["failed"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
