"""Take-over: how long a partition stands still when the worker that has it dies, stops, or shares with one that comes.

    python -m bench.takeover                                  # session timeouts of 6 and 10 s, embedded broker
    python -m bench.takeover --kafka LIBS_FOLDER --sessions 6

As many workers that absorb as partitions, one more that stands by, and one that serves, which looks: canaries leave
every half second for each partition, and their greatest age at the one that serves, less what it is when nothing
happens, is how long the partition stood still: detection, assignment, rows, and the way to the scorer.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import httpx
import msgspec

from bench.path import show
from bench.path_system import System
from store.settings import Settings
from tests.chaos.workers import WorkerProcess
from tests.clusters import use_kafka

CANARY_S = 0.5
CALM_S, CALM_FOR_S = 2.5, 3.0
"""All is well again when every canary's age has stayed below this for so long."""
LONGEST_S = 90.0
LOOK_S = 0.1
STAGE = "engagement_to_embedding"
AGES = re.compile(rf'^sidestream_canary_age_seconds{{partition="(\d+)",stage="{STAGE}"}} (\S+)$', re.MULTILINE)


def ages_s(observer: WorkerProcess) -> dict[int, float]:
    """Partition → age of its last canary that came the whole way."""
    text = httpx.get(f"{observer.url}/metrics", timeout=10.0).text
    return {int(number): float(age) for number, age in AGES.findall(text)}


def greatest_age_s(
    observer: WorkerProcess, partitions: int, act: Callable[[], object], coming: WorkerProcess | None = None
) -> float:
    """The greatest age of any canary from `act` on until all is well again, and who is `coming` takes part."""
    act()
    began = calm_since = time.monotonic()
    greatest = 0.0
    while time.monotonic() - began < LONGEST_S:
        ages = ages_s(observer)
        oldest = max(ages.values(), default=LONGEST_S) if len(ages) == partitions else LONGEST_S
        greatest = max(greatest, oldest)
        now = time.monotonic()
        calm_since = now if oldest > CALM_S else calm_since
        calm_since = calm_since if coming is None or is_ready(coming) else now
        if now - calm_since >= CALM_FOR_S and now - began > 2 * CALM_FOR_S:
            return greatest
        time.sleep(LOOK_S)
    return float("inf")


def is_ready(worker: WorkerProcess) -> bool:
    try:
        return worker.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def owner(workers: Sequence[WorkerProcess]) -> WorkerProcess:
    """One that has partitions."""
    return next(worker for worker in workers if is_ready(worker) and worker.get("/v1/status").json()["partitions"])


def measure(session_s: float, options: argparse.Namespace) -> dict[str, float]:
    """Seconds, by what was done."""
    options.roles = ["ingest"] * (options.partitions + 1) + ["serve"]

    def quick(settings: Settings) -> Settings:
        kafka = msgspec.structs.replace(settings.kafka, session_timeout_s=session_s)
        freshness = msgspec.structs.replace(settings.freshness, canary_s=CANARY_S)
        return msgspec.structs.replace(settings, kafka=kafka, freshness=freshness)

    options.change = quick
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), options)
        try:
            return _measured(system, options)
        finally:
            system.stop()


def _measured(system: System, options: argparse.Namespace) -> dict[str, float]:
    *absorbing, observer = system.workers
    look = partial(greatest_age_s, observer, options.partitions)
    look(lambda: None)  # from the start on
    found = {"nothing happens": look(lambda: None)}
    killed = owner(absorbing)
    found["SIGKILL of one that has partitions, one stands by"] = look(killed.kill)
    found["it comes back, and stands by"] = look(killed.start, killed)
    stopped = owner(absorbing)
    found["SIGTERM of one that has partitions, one stands by"] = look(stopped.stop)
    paused = owner([worker for worker in absorbing if worker is not stopped])
    found["SIGSTOP of another, nobody stands by"] = look(paused.pause)
    found["it goes on"] = look(paused.resume)
    found["a worker that absorbs comes"] = look(stopped.start, stopped)
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.takeover", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=float, nargs="+", default=[6.0, 10.0], help="kafka.session_timeout_s")
    parser.add_argument("--partitions", type=int, default=2)
    parser.add_argument("--kafka", type=Path, help="real Kafka from this folder, which holds its `libs`")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.kafka:
        use_kafka(options.kafka)
    for session_s in options.sessions:
        show({f"session timeout {session_s:g} s, load {os.getloadavg()[0]:.1f}": measure(session_s, options)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
