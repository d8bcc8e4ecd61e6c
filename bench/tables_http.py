"""What a worker's HTTP face answers a second of one question, made when it is asked and looked up in a list.

    python -m bench.tables_http [--items 10000] [--seconds 10] [--connections 4] [--json]

The face of a worker and its scorer run in this process, without a broker, over that catalogue of `bench.recommend`.
Another process asks `/v1/items/ITEM/similar` over some connections, each as soon as its last answer has come, first
with `serving.precomputed.share` at 0, then with lists. Processor time is that of this process, of all its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import numpy as np

from bench.recommend_world import World, fill
from store.settings import Precomputed, Serving
from stream.web.server import WebServer
from tests.stream.serving.test_service import Alone

PATH = "/v1/items/item-0/similar?k=10"


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second, milliseconds that one took, and those of processor time that it cost the worker."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    looked_up: float


def ask(url: str, seconds: float, connections: int) -> tuple[list[float], int]:
    """The seconds that each request took, and how many answers came from a list."""
    took_s: list[float] = []
    looked_up = [0] * connections
    ends_s = time.monotonic() + seconds

    def asking(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        while time.monotonic() < ends_s:
            began_s = time.perf_counter()
            connection.request("GET", PATH)
            body = connection.getresponse().read()
            took_s.append(time.perf_counter() - began_s)
            looked_up[number] += b'"reason":"table"' in body

    threads = [threading.Thread(target=asking, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took_s, sum(looked_up)


async def rate_of(serving: Serving, items: int, seconds: float, connections: int) -> Rate:
    worker = Alone(serving)
    fill(World(worker.scorer.recommender), items, 2 * items)
    worker.caught_up.set()
    tables = asyncio.create_task(worker.scorer.precomputing.run(worker.caught_up))
    web = WebServer(worker.service, worker.scorer.metrics, serving)
    await web.start()
    try:
        await _asked_by_another(web.url, 3.0, connections)  # the first answers, and the list
        began_s = time.process_time()
        took_s, looked_up = await _asked_by_another(web.url, seconds, connections)
        cpu_s = time.process_time() - began_s
    finally:
        tables.cancel()
        await asyncio.gather(tables, return_exceptions=True)
        await web.stop()
        worker.close()
    p50, p99 = (1000.0 * float(np.percentile(took_s, percent)) for percent in (50, 99))
    return Rate(len(took_s) / seconds, p50, p99, 1000.0 * cpu_s / len(took_s), looked_up / len(took_s))


async def _asked_by_another(url: str, seconds: float, connections: int) -> tuple[list[float], int]:
    command = ("-m", "bench.tables_http", "--ask", url, "--seconds", str(seconds), "--connections", str(connections))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    took_s, looked_up = json.loads(out)
    return took_s, looked_up


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--ask", help="the address of a worker: ask it, and tell what that took")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.ask:
        print(json.dumps(ask(chosen.ask, chosen.seconds, chosen.connections)))
        return
    found = {}
    for name, share in (("made when asked", 0.0), ("looked up", 0.05)):
        serving = Serving(port=0, explore_share=0.0, precomputed=Precomputed(share=share))
        found[name] = asdict(asyncio.run(rate_of(serving, chosen.items, chosen.seconds, chosen.connections)))
    told = (
        f"{name:16} " + "  ".join(f"{key} {value:,.2f}" for key, value in one.items()) for name, one in found.items()
    )
    print(json.dumps(found) if chosen.json else "\n".join(told))


if __name__ == "__main__":
    main()
