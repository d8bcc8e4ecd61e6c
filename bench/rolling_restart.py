"""A rolling restart, and workers that are killed, paused or stopped behind a balancer: what the people who ask notice.

    python -m bench.rolling_restart                                     # embedded broker, 50 requests a second
    python -m bench.rolling_restart --brokers embedded kafka            # and real Kafka (SIDESTREAM_TEST_KAFKA_HOME)

Two workers, a balancer without retries (`bench.balancer`), and beside it engagements. Each fault hits one worker and
then the other, `--times` in all, and each time the worker comes back once answers are whole again. "Whole after": from
the signal until the last request was sent whose answer was degraded, and from the worker's return likewise; "assigned"
is when the other one had been given the partitions, by its log.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from bench.balancer import POLL_S, Balancer, figures
from bench.path import fill
from bench.path_stream import Stream
from bench.path_system import System, send_frames
from tests.chaos.workers import WorkerProcess

ENGAGED_EVERY_S = 0.1
PATIENCE_S = 240.0
CALM_S, LONGEST_S = 6.0, 45.0
"""Answers are whole again once none was degraded for so long; and so long that is waited for."""
AWAY_S = 15.0
"""A worker is away for so long at least: past its session, so that the other takes over."""
GENERATION = re.compile(r"^(\S+ \S+) INFO \S+ generation \d+: \d+ partitions at work", re.MULTILINE)

Row = dict[str, object]


class Engaging(threading.Thread):
    """Some engagements all the time."""

    def __init__(self, system: System, stream: Stream, rate_per_s: float) -> None:
        super().__init__(daemon=True)
        self._system, self._stream, self._ended = system, stream, threading.Event()
        self._count = max(1, round(rate_per_s * ENGAGED_EVERY_S))

    def run(self) -> None:
        while not self._ended.wait(ENGAGED_EVERY_S):
            send_frames(self._system, self._stream.engagements(self._count, framed=20))

    def end(self) -> None:
        self._ended.set()
        self.join(30)


def killed(worker: WorkerProcess, until_whole: Callable[[], None]) -> None:
    worker.kill()
    until_whole()
    worker.start()


def killed_and_started(worker: WorkerProcess, until_whole: Callable[[], None]) -> None:
    worker.kill()
    worker.start()
    until_whole()


def paused(worker: WorkerProcess, until_whole: Callable[[], None]) -> None:
    worker.pause()
    until_whole()
    worker.resume()


def stopped(worker: WorkerProcess, until_whole: Callable[[], None]) -> None:
    assert worker.stop() == 0, worker.log.read_text()[-2000:]
    until_whole()
    worker.start()


FAULTS: Mapping[str, Callable[[WorkerProcess, Callable[[], None]], None]] = {
    "SIGKILL": killed,
    "SIGKILL, started at once": killed_and_started,
    "SIGSTOP": paused,
    "SIGTERM": stopped,
}


class Trial:
    """A system with its balancer, and what is done to it."""

    def __init__(self, system: System, balancer: Balancer) -> None:
        self._system, self._balancer = system, balancer

    def restart(self) -> Row:
        """Each worker in turn: asked to stop, started again, waited for."""
        self._balancer.forget()
        for worker in self._system.workers:
            assert worker.stop() == 0, worker.log.read_text()[-2000:]
            worker.start()
            worker.await_ready(PATIENCE_S)
            time.sleep(2 * POLL_S)
        return figures(list(self._balancer.asked))

    def bounce(self, fault: str, times: int) -> Row:
        self._balancer.forget()
        rounds = [self._bounce_once(fault, self._system.workers[number % 2]) for number in range(times)]
        whole, assigned, back = ([each for each in part if each is not None] for part in zip(*rounds, strict=True))
        return {
            "times": times,
            **figures(list(self._balancer.asked)),
            "assigned s": _middle(assigned),
            "whole after s": _middle(whole),
            "longest s": round(max(whole, default=0.0), 1),
            "after its return s": _middle(back),
        }

    def _bounce_once(self, fault: str, worker: WorkerProcess) -> tuple[float | None, ...]:
        """Seconds until answers were whole, until the partitions were assigned, and until whole after the return."""
        other = next(each for each in self._system.workers if each is not worker)
        began_s, at = time.monotonic(), datetime.now()
        found: list[float | None] = []

        def until_whole() -> None:
            found.append(self._balancer.until_calm(began_s, CALM_S, LONGEST_S))
            time.sleep(max(0.0, began_s + AWAY_S - time.monotonic()))
            found.append(_assigned_s(other, at))

        FAULTS[fault](worker, until_whole)
        returned_s = time.monotonic()
        worker.await_ready(PATIENCE_S)
        found.append(self._balancer.until_calm(returned_s, CALM_S, LONGEST_S))
        print(f"{fault}: whole, assigned, whole after its return {found}", file=sys.stderr, flush=True)
        return tuple(found)


def _assigned_s(worker: WorkerProcess, since: datetime) -> float | None:
    times = [datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f") for at in GENERATION.findall(worker.log.read_text())]
    return next(((at - since).total_seconds() for at in times if at >= since), None)


def _middle(seconds: Sequence[float]) -> float | None:
    return round(statistics.median(seconds), 1) if seconds else None


def measure(broker: str, options: argparse.Namespace) -> dict[str, Row]:
    """The table of one kind of broker: row → figures."""
    with tempfile.TemporaryDirectory() as folder:
        options.kafka = broker == "kafka"
        system = System(Path(folder), options)
        stream = Stream(options.users, options.items, options.partitions)
        balancer = Balancer([worker.url for worker in system.workers], options.rate, options.users)
        engaging = Engaging(system, stream, options.engagements)
        try:
            fill(system, stream)
            send_frames(system, stream.engagements(options.events, framed=200))
            engaging.start()
            balancer.start()
            time.sleep(options.seconds)
            trial = Trial(system, balancer)
            rows = {"before": figures(list(balancer.asked))}
            if "restart" in options.rows:
                rows["rolling restart"] = trial.restart()
            rows |= {name: trial.bounce(name, options.times) for name in FAULTS if name in options.rows}
            if options.logs:
                for number, worker in enumerate(system.workers):
                    (options.logs / f"{broker}-{number}.log").write_bytes(worker.log.read_bytes())
        finally:
            for thread in (balancer, engaging):
                if thread.is_alive():
                    thread.end()
            system.stop()
    return rows


def table(rows: Mapping[str, Row]) -> str:
    """The rows as Markdown."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["", *columns], ["---"] * (1 + len(columns))]
    lines += [
        [name, *("" if row.get(each) is None else str(row[each]) for each in columns)] for name, row in rows.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rolling_restart", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--brokers", nargs="+", choices=("embedded", "kafka"), default=["embedded"])
    parser.add_argument("--rows", nargs="*", choices=("restart", *FAULTS), default=["restart", *FAULTS])
    parser.add_argument("--times", type=int, default=5, help="of each fault")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--engagements", type=float, default=200.0, help="engagements a second, meanwhile")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long before the first restart")
    parser.add_argument("--drain", type=float, default=2.0, help="seconds that a worker answers after SIGTERM")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--events", type=int, default=20_000, help="engagements before the first request")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--logs", type=Path, help="a folder for the workers' logs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    options.workers = 2
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    rows = {f"{broker}: {name}": row for broker in options.brokers for name, row in measure(broker, options).items()}
    print(json.dumps(rows) if options.json else table(rows))
    restarts = [row for name, row in rows.items() if name.endswith("rolling restart")]
    return 0 if all(row["failed"] == row["refused"] == 0 for row in restarts) else 1


if __name__ == "__main__":
    sys.exit(main())
