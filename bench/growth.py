"""Growth: what the same engagements cost as workers are added, by role, and what travels for it.

    python -m bench.growth                                  # 1, 2, 4 workers that do both, and beside one that serves
    python -m bench.growth --layouts all:1 ingest:4,serve:1 --events 200000 --rate 1000

For each layout a broker and workers are started anew and filled with items; then the engagements come, as fast as it
goes or at `--rate`, until every worker that answers shows the last of them. User and system time of each process are
the kernel's; what it costs to do nothing is measured before, for `--idle` seconds, and told apart. Bytes of a topic are
what its partitions have grown by on the broker's disk, records what their ends have moved by. A scorer reads every row
that was published, so rows read per scorer are the records of `item-states`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.broker import memory_mib
from bench.path import exact, fill, show
from bench.path_stream import Stream
from bench.path_system import System, paced, send_frames
from store.topics import ENGAGEMENTS, ITEM_SIGNALS, ITEM_STATES, RANKING_EXAMPLES, USER_STATES
from stream.kafka.connections import reader
from tests.clusters import use_kafka

Figures = dict[str, Any]

LAYOUTS = ("all:1", "all:2", "all:4", "ingest:1,serve:1", "ingest:2,serve:1", "ingest:4,serve:1")
TOPICS = (ENGAGEMENTS, ITEM_SIGNALS, ITEM_STATES, USER_STATES, RANKING_EXAMPLES)
MILLION = 1_000_000


class Clock:
    """User and system time (CPU seconds) of processes by name, from one moment on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._began = time.perf_counter()
        self._before = {name: times_s(pid) for name, pid in pids.items()}

    def spent(self) -> dict[str, dict[str, float]]:
        found = {}
        for name, pid in self._pids.items():
            user_s, system_s = (after - before for after, before in zip(times_s(pid), self._before[name], strict=True))
            found[name] = {"user_s": user_s, "system_s": system_s, "cpu_s": user_s + system_s}
        return found

    def took_s(self) -> float:
        return time.perf_counter() - self._began


def times_s(pid: int) -> tuple[float, float]:
    """User and system CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def roles_of(layout: str) -> list[str]:
    """`ingest:2,serve:1` → the role of each worker."""
    parts = [part.partition(":") for part in layout.split(",")]
    return [role for role, _, count in parts for _ in range(int(count or 1))]


class Traffic:
    """What the topics have grown by, from one moment on."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._before = self._look()

    def grown(self) -> dict[str, dict[str, float]]:
        now = self._look()
        return {
            topic: {part: now[topic][part] - self._before[topic][part] for part in ("records", "bytes")}
            for topic in TOPICS
        }

    def _look(self) -> dict[str, dict[str, float]]:
        return {topic: {"records": self._records(topic), "bytes": self._bytes(topic)} for topic in TOPICS}

    def _records(self, topic: str) -> float:
        from kafka import TopicPartition

        settings = self._system.settings
        places = [TopicPartition(settings.topic(topic), number) for number in range(settings.kafka.partitions)]
        with reader(settings, places) as consumer:
            return float(sum(consumer.end_offsets(places).values()))

    def _bytes(self, topic: str) -> float:
        full, folder = self._system.settings.topic(topic), self._system.cluster.folder
        embedded, kafka = folder.rglob(f"{full}/*/*.log"), folder.rglob(f"{full}-*/*.log")
        return float(sum(file.stat().st_size for file in (*embedded, *kafka)))


def measured(layout: str, options: argparse.Namespace) -> Figures:
    """One layout, from nothing."""
    options.roles = roles_of(layout)
    stream = Stream(options.users, options.items, options.partitions)
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), options)
        try:
            return _measured(system, stream, options)
        finally:
            system.stop()


def _measured(system: System, stream: Stream, options: argparse.Namespace) -> Figures:
    fill(system, stream)
    _engage(system, stream, options.warm, 0.0, options)
    idle = Clock(system.pids())
    time.sleep(options.idle)
    idle_s = {name: one["cpu_s"] / idle.took_s() for name, one in idle.spent().items()}
    traffic, clock, load = Traffic(system), Clock(system.pids()), os.getloadavg()[0]
    _engage(system, stream, options.events, options.rate, options)
    took_s, spent = clock.took_s(), clock.spent()
    scale = MILLION / options.events
    topics, cpu_s = traffic.grown(), _of_workers({name: one["cpu_s"] for name, one in spent.items()})
    return {
        "load before": load,
        "took s": took_s,
        "CPU s for a million": {name: _scaled(one, scale) for name, one in spent.items() if name != "driver"},
        "workers, idle, CPU s a second": _of_workers(idle_s),
        "workers, CPU s for a million": scale * cpu_s,
        "the same, beyond idle": scale * (cpu_s - _of_workers(idle_s) * took_s),
        "resident MiB": {name: memory_mib(pid) for name, pid in system.pids().items() if name.startswith("worker")},
        "rows read per scorer, for a million": scale * topics[ITEM_STATES]["records"],
        "topics, for a million": {name: _scaled(one, scale) for name, one in topics.items()},
        "exact": exact(system, stream) if options.exact else {},
    }


def _scaled(figures: Mapping[str, float], scale: float) -> dict[str, float]:
    return {name: value * scale for name, value in figures.items()}


def _of_workers(figures: Mapping[str, float]) -> float:
    return sum(value for name, value in figures.items() if name.startswith("worker"))


def _engage(system: System, stream: Stream, count: int, rate: float, options: argparse.Namespace) -> None:
    """So many engagements, until everybody who answers shows the last."""
    messages = stream.engagements(count, options.framed)
    last, marks = stream.sentinels()
    for number in paced(len(messages), rate / options.framed) if rate else range(len(messages)):
        send_frames(system, [messages[number]])
    send_frames(system, last)
    system.flush()
    system.await_items(marks, "counters", timeout_s=900.0)


def compared(found: Mapping[str, Figures]) -> dict[str, float]:
    """What workers cost beyond idle in each layout, in what one worker costs that does both."""
    costs = {layout: figures["the same, beyond idle"] for layout, figures in found.items()}
    base = costs.get("all:1")
    return {layout: cost / base for layout, cost in costs.items()} if base else {}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS), help="role:count[,role:count], one system each")
    parser.add_argument("--kafka", type=Path, help="real Kafka from this folder, which holds its `libs`")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--warm", type=int, default=5_000, help="engagements before anything is measured")
    parser.add_argument("--rate", type=float, default=0.0, help="engagements a second; 0: as fast as it goes")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds in which nothing comes")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--framed", type=int, default=100, help="engagements in one record")
    parser.add_argument("--exact", action="store_true", help="look whether every engagement counts once in the end")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.kafka:
        use_kafka(options.kafka)
    found: dict[str, Figures] = {}
    for layout in options.layouts:
        found[layout] = measured(layout, options)
        if not options.json:
            show({layout: found[layout]})
    told = {"layouts": found, "against one that does both": compared(found)}
    print(json.dumps(told, ensure_ascii=False)) if options.json else show(
        {"against one that does both": compared(found)}
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
