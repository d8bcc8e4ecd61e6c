"""Figures for `bench.path`: what a process cost, what a histogram of the worker grew by, where samples fell."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import httpx

from bench.broker import cpu_s, memory_mib

# The first line that matches a frame, from the innermost outwards, says what the time went to. What several parts use
# (numpy, the catalogue's arrays) is not here: its callers say whose time it was.
Parts = tuple[tuple[str, str], ...]

PARTS: Parts = (
    (r"store/events\.py", "decode events"),
    (r"store/histories\.py|stream/ingest/user_side\.py", "user side: histories, signals"),
    (r"trainer/items/vector_learning\.py|stream/ingest/item_vectors\.py|store/embeddings\.py", "item side: vectors"),
    (r"trainer/items/item_learning\.py|stream/ingest/item_side\.py", "item side: rows"),
    (r"store/signals\.py", "signals: encode, decode"),
    (r"store/rows\.py", "rows: encode, RocksDB"),
    (r"stream/serving/(codebook_report|upkeep)\.py", "fits, health"),
    (r"trainer/items/(catalog|transitions)\.py|store/memory/prefix_tree\.py", "scorer: catalogue, transitions, tree"),
    (r"trainer/(content|semantic_ids)/", "content, codebook"),
    (r"trainer/examples\.py", "examples for the ranker"),
    (r"stream/web/|stream/serving/service\.py|trainer/answers\.py|trainer/retrieval/|aiohttp/", "requests"),
    (r"stream/serving/", "scorer: read cards and rows"),
    (r"stream/kafka/emitter|aiokafka/producer/", "publish"),
    (r"stream/ingest/upload_partition\.py|store/items\.py", "uploads: cards"),
    (r"stream/metrics/|prometheus_client/", "metrics"),
    (r"stream/", "partitions, agents"),
    (r"faust/|mode/", "Faust"),
    (r"aiokafka/", "aiokafka"),
)


class Ledger:
    """CPU seconds and memory of processes by name, from one moment on."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = {name: cpu_s(pid) for name, pid in pids.items()}

    def spent(self) -> dict[str, dict[str, float]]:
        return {
            name: {"cpu_s": round(cpu_s(pid) - self._before[name], 2), "rss_mib": round(memory_mib(pid))}
            for name, pid in self._pids.items()
        }


def histogram(url: str, name: str) -> dict[float, float]:
    """Cumulative counts by upper edge (seconds) of one of the worker's histograms."""
    text = httpx.get(f"{url}/metrics", timeout=30.0).text
    found = re.findall(rf'^sidestream_{name}_bucket{{.*?le="([^"]+)".*?}} (\S+)$', text, re.MULTILINE)
    return {float(edge): float(count) for edge, count in found}


def grown(before: dict[float, float], after: dict[float, float]) -> dict[str, float]:
    """p50 and p99 (ms, upper edges of their buckets: never better than the truth) of what came between."""
    counts = {edge: after[edge] - before.get(edge, 0.0) for edge in sorted(after)}
    total = max(counts.values(), default=0.0)
    found = {"count": total}
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99)):
        edges = [edge for edge, count in counts.items() if total and count >= share * total]
        found[name] = edges[0] * 1000 if edges else float("nan")
    return found


def quantiles(waits_s: list[float]) -> dict[str, float]:
    """p50 and p99 in ms."""
    waits_s = sorted(waits_s)
    return {
        "count": len(waits_s),
        "p50_ms": round(waits_s[len(waits_s) // 2] * 1000, 2) if waits_s else float("nan"),
        "p99_ms": round(waits_s[len(waits_s) * 99 // 100] * 1000, 2) if waits_s else float("nan"),
    }


class Sampler:
    """py-spy on one process, if it is installed: shares of CPU time by part of the program."""

    def __init__(self, pid: int, file: Path, parts: Parts = PARTS, others: str = "event loop, other") -> None:
        self._file, self._parts, self._others = file, parts, others
        self._process: subprocess.Popen[bytes] | None = None
        program = shutil.which("py-spy")
        if program is not None:
            command = [program, "record", "--pid", str(pid), "--rate", "97", "--format", "raw", "--output", str(file)]
            quiet = subprocess.DEVNULL
            self._process = subprocess.Popen([*command, "--duration", "600", "--threads"], stdout=quiet, stderr=quiet)

    def stop(self) -> dict[str, float]:
        """Shares by part, largest first; empty without py-spy."""
        if self._process is None:
            return {}
        self._process.send_signal(2)
        self._process.wait(30)
        return shares(self._file.read_text(), self._parts, self._others)


def shares(stacks: str, parts: Parts = PARTS, others: str = "event loop, other") -> dict[str, float]:
    """Shares of samples by part, from py-spy's raw lines (`frame;frame;… count`)."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        if re.search(r"(select \(selectors\.py|_worker \(concurrent/futures/thread\.py)[^;]*$", stack):
            continue  # waiting, which py-spy takes for work now and then
        counts[_part(stack.split(";"), parts) or others] += int(count)
    total = sum(counts.values()) or 1
    return {name: round(count / total, 3) for name, count in counts.most_common()}


def _part(frames: list[str], parts: Parts) -> str:
    for frame in reversed(frames):
        place = re.sub(r"^(\S+) \((.*)\)$", r"\2 \1", frame)
        place = re.sub(r":\d+ ", " ", place)
        for pattern, name in parts:
            if re.search(pattern, place):
                return name
    return ""
