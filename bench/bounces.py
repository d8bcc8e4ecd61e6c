"""Bounces, by Kafka's own standard: 100,000 engagements while brokers and workers are killed, stopped and paused.

    python -m bench.bounces [--kafka LIBS_FOLDER] [--engagements 100000] [--rate 1200] [--workers 2]
                            [--rows "broker SIGKILL" "worker SIGSTOP" …] [--json]

Three brokers of real Kafka hold three copies of everything (min.insync.replicas 2), the workers absorb what one
publisher sends, and one fault after the other is injected for as long as it sends. Each row is a system of its own. The
judge knows what was sent: of every item the counters of every kind, of every user the window of event ids, must be
exactly that. It prints a table, and ends with status 1 unless lost and doubled are 0 in every row.

Recovery: from the signal until everything that was on the log right after it is absorbed by users and items, published
and safe. Without a fault that takes a moment, too: the first row says how long.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.bounces_judge import Absorbed, judge
from bench.bounces_system import Bounced, Fault, Sending
from tests.clusters import KafkaCluster, kafka_home, why_no_kafka

ROWS: Sequence[tuple[str, Fault | None]] = (
    ("nothing", None),
    ("broker SIGKILL", Fault("broker", "kill", 2.0)),
    ("broker SIGTERM", Fault("broker", "stop", 2.0)),
    ("broker SIGSTOP", Fault("broker", "pause", 8.0)),
    ("worker SIGKILL", Fault("worker", "kill", 1.0)),
    ("worker SIGTERM", Fault("worker", "stop", 1.0)),
    ("worker SIGSTOP", Fault("worker", "pause", 10.0)),
    ("worker SIGKILL, disk lost", Fault("worker", "wipe", 1.0)),
)
"""What is injected, and for how long: pauses outlast the session (of a broker 3 s, of a worker 6 s)."""
IN_PEACE_S = 15.0
"""So often the first row, which injects nothing, measures what others measure from a fault on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table. `again`: how many engagements were published twice; `ended`: workers that ended by
    themselves, and were started again as a supervisor would."""

    fault: str
    injected: int
    events: int
    again: int
    absorbed: Absorbed
    ended: int
    recoveries_s: Sequence[float]
    took_s: float

    def cells(self) -> Mapping[str, Any]:
        found = {"injected": self.fault, "times": self.injected, "events in": self.events, "sent twice": self.again}
        found |= {"absorbed": self.absorbed.absorbed, "lost": self.absorbed.lost, "doubled": self.absorbed.doubled}
        found |= {"recovery s, median": f"{median(self.recoveries_s):.1f}", "longest": f"{max(self.recoveries_s):.1f}"}
        return found | {"workers that ended": self.ended, "row took s": round(self.took_s)}


def run_row(cluster: KafkaCluster, folder: Path, name: str, fault: Fault | None, options: argparse.Namespace) -> Row:
    """One system under one kind of fault, until everything is sent; then it is judged."""
    began = time.monotonic()
    system = Bounced(cluster, folder, options.workers)
    try:
        sending = Sending(system.settings, options.engagements, options.rate)
        sending.start()
        recoveries_s: list[float] = []
        while sending.is_alive():
            sending.join(1.0)
            recoveries_s.append(system.bounce(fault, len(recoveries_s)) if fault else system.in_peace())
            sending.join(0.0 if fault else IN_PEACE_S)
            system.start_what_ended()
        sending.check()
        system.await_end()
        return Row(
            fault=name, injected=len(recoveries_s) if fault else 0, events=len(sending.sent), again=sending.again,
            absorbed=judge(sending.sent, system.settings), ended=system.ended, recoveries_s=recoveries_s,
            took_s=time.monotonic() - began,
        )  # fmt: skip
    finally:
        system.close()


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    cells = [row.cells() for row in rows]
    lines = [" | ".join(cells[0]), "|".join("---" for _ in cells[0])]
    lines += [" | ".join(map(str, line.values())) for line in cells]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def run(options: argparse.Namespace) -> list[Row]:
    chosen = [(name, fault) for name, fault in ROWS if not options.rows or name in options.rows]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        cluster = KafkaCluster(Path(folder) / "kafka", brokers=3)
        cluster.start()
        try:
            for number, (name, fault) in enumerate(chosen):
                rows.append(run_row(cluster, Path(folder) / f"row-{number}", name, fault, options))
                print(json.dumps(rows[-1].cells()), file=sys.stderr, flush=True)
        finally:
            cluster.stop()
    return rows


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.bounces", description="100,000 engagements under bounces")
    parser.add_argument("--kafka", type=Path, default=kafka_home(), help="folder with Kafka's libs")
    parser.add_argument("--engagements", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=1200, help="engagements a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", nargs="*", choices=[name for name, _ in ROWS], help="these only")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    os.environ["SIDESTREAM_TEST_KAFKA_HOME"] = str(options.kafka)
    if (reason := why_no_kafka()) is not None:
        print(f"bench.bounces needs real Kafka: {reason}", file=sys.stderr)
        return 2
    rows = run(options)
    print(json.dumps([row.cells() for row in rows], indent=1) if options.json else table(rows))
    return 0 if all(row.absorbed.is_exact for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
