"""The whole way of a request: HTTP, scorer, answer; with and without a checkpoint, and where its processor time goes.

    python -m bench.recommend [--items 10000 100000] [--million] [--events 40000] [--seconds 10] [--clients 1 8]
                              [--no-model] [--json]

For each number of items a server is started (`bench.recommend_server`: a worker's own parts, a broker for what it
publishes) and asked by as many clients as told, each of which asks again when it has its answer. Told are answers a
second, what they took (p50 and p99, by the clock of a shared machine), and processor milliseconds by request: of the
server, of its event loop and of its other threads, by the kernel's count; and of an answer without HTTP, in the median
and at least. The parts are shares of py-spy's samples (if it is installed) times what a request costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.path_figures import Parts, Sampler, quantiles
from bench.path_system import Asking
from store.settings import settings_from
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster

Figures = dict[str, Any]
PARTS: Parts = (
    (r"trainer/ranking/(ranker|cascade|heads|calibration)\.py|lightgbm/", "ranker: trees"),
    (r"trainer/model/|trainer/model_bundle\.py|torch/|store/memory/prefix_tree\.py", "model"),
    (r"trainer/ranking/features\.py", "features"),
    (r"trainer/items/byte_vectors\.py", "vectors: products"),
    (r"trainer/retrieval/top\.py", "best of each source"),
    (r"trainer/retrieval/(candidates|filters)\.py|store/memory/hash_index\.py", "candidates, filters"),
    (r"trainer/retrieval/|trainer/items/", "evidence of sources"),
    (r"trainer/", "answer: lines, reasons, notes"),
    (r"stream/serving/", "hand-over, impressions, traces"),
    (r"stream/metrics/|prometheus_client/", "metrics"),
    (r"stream/kafka/|aiokafka/", "publish impressions"),
    (r"stream/web/parameters\.py", "validation"),
    (r"stream/web/|aiohttp/|yarl/|multidict/", "HTTP"),
)
MILLION = 1_000_000


class Served:
    """A server process over so many items."""

    def __init__(self, cluster: EmbeddedCluster, folder: Path, items: int, events: int) -> None:
        prefix = f"recommend-{uuid.uuid4().hex[:8]}."
        kafka = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": prefix, "partitions": 4}
        create_topics(settings_from({"kafka": kafka}))
        command = [sys.executable, "-m", "bench.recommend_server", cluster.bootstrap_servers, prefix, str(folder)]
        pipe, environment = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*command, str(items), str(events)], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        self.told: Figures = self._line()

    def _line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the server ended with status {self.process.wait()}: see its lines above")
        return json.loads(line)

    def order(self, what: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._line()

    def asked(self, clients: int, seconds: float) -> tuple[Figures, float]:
        """Answers by so many clients, and processor ms by request."""
        asking, before = Asking(self.told["url"], self.told["users"], clients), threads_s(self.process.pid)
        began = time.perf_counter()
        asking.start()
        time.sleep(seconds)
        asking.end()
        took_s, after = time.perf_counter() - began, threads_s(self.process.pid)
        number = max(1, len(asking.waits_s))
        spent_ms = {thread: 1000 * (s - before.get(thread, 0.0)) / number for thread, s in after.items()}
        loop_ms, all_ms = spent_ms[self.process.pid], sum(spent_ms.values())
        found = {"answers/s": round(number / took_s, 1), **quantiles(asking.waits_s), "failed": asking.failed}
        cpu = {"CPU ms": round(all_ms, 2), "event loop": round(loop_ms, 2), "threads": round(all_ms - loop_ms, 2)}
        return {**found, **cpu}, all_ms

    def profiled(self, seconds: float) -> dict[str, float]:
        """Processor ms by request and part; empty without py-spy."""
        with tempfile.TemporaryDirectory() as folder:
            sampler = Sampler(self.process.pid, Path(folder) / "stacks.txt", PARTS, others="event loop, threads")
            _, all_ms = self.asked(2, seconds)
            return {part: round(share * all_ms, 2) for part, share in sampler.stop().items()}

    def close(self) -> None:
        self.process.communicate()  # its input ends, so does it


def threads_s(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process; the first has its number."""
    found = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        found[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def measure(cluster: EmbeddedCluster, folder: Path, items: int, options: argparse.Namespace) -> Figures:
    """Without a checkpoint, then with one."""
    served = Served(cluster, folder, items, options.events)
    try:
        found: Figures = {"world": served.told, "no checkpoint": figures(served, options)}
        if not options.no_model:
            served.order("model")
            found["a checkpoint"] = figures(served, options)
    finally:
        served.close()
    return found


def figures(served: Served, options: argparse.Namespace) -> Figures:
    alone_ms = served.order("alone")
    found: Figures = {
        "answer alone, ms": {"least": round(alone_ms[0], 2), "p50": round(alone_ms[len(alone_ms) // 2], 2)}
    }
    for clients in options.clients:
        found[f"{clients} clients"], _ = served.asked(clients, options.seconds)
    found["ms by part"] = served.profiled(options.seconds)
    return found


def table(found: Mapping[str, Figures]) -> str:
    """Parts by rows, cases by columns, largest of the first first."""
    cases = {
        f"{items}, {case}": of[case]["ms by part"] for items, of in found.items() for case in of if case != "world"
    }
    names = sorted({name for parts in cases.values() for name in parts}, key=lambda name: _most(cases, name))
    lines = ["| ms by request | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{of.get(name, 0.0):.2f}" for of in cases.values()) + " |" for name in names]
    return "\n".join(lines)


def _most(cases: Mapping[str, Mapping[str, float]], name: str) -> float:
    return -max(parts.get(name, 0.0) for parts in cases.values())


def show(found: Mapping[str, Figures]) -> None:
    for items, of in found.items():
        print(f"{items}: {of['world']}")
        for case in (case for case in of if case != "world"):
            for name, told in of[case].items():
                print(f"  {case}, {name}: {told}" if name != "ms by part" else "", end="\n" * (name != "ms by part"))
    print(table(found))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.recommend", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--million", action="store_true", help="1,000,000 items as well: minutes, and gigabytes")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--no-model", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        cluster = EmbeddedCluster(Path(folder))
        cluster.start()
        try:
            for items in [*options.items, *([MILLION] if options.million else [])]:
                found[f"{items:,} items"] = measure(cluster, Path(folder), items, options)
        finally:
            cluster.stop()
    print(json.dumps(found)) if options.json else show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
