"""The whole path: uploads and framed engagements through a running system, with what they cost.

    python -m bench.path [--kafka LIBS_FOLDER] [--workers 1] [--events 200000] [--rate 1000] [--json]
                         [--quix PYTHON]

Starts a broker and real workers, and drives them from outside. Every freshness figure is the upper edge of its bucket
in the worker's own histogram, from the broker's timestamp on. Throughput runs from the first send until a scorer shows
the last engagement; that everything counted once is checked against the driver's own counters in the end. The shares of
the worker's CPU time come from py-spy, if it is installed, in a round of their own. `--quix` names a Python that has
Quix Streams: the same records through it, decoded and counted by user (`bench.quix_counts`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.path_figures import Ledger, Sampler, grown, histogram, quantiles
from bench.path_stream import Stream
from bench.path_system import Asking, System, paced, send_frames
from store.topics import ENGAGEMENTS, UPLOADS
from tests.chaos.workers import await_committed, published_counters
from tests.clusters import use_kafka

Figures = dict[str, Any]


def fill(system: System, stream: Stream) -> Figures:
    """All items, as fast as it goes: uploads a second until the last is live."""
    uploads = list(stream.uploads(stream.items, "item-"))
    ledger, began = Ledger(system.pids()), time.perf_counter()
    for item, value in uploads:
        system.send(UPLOADS, item.encode(), value)
    system.flush()
    system.await_items([item for item, _ in uploads[-64:]], "live")
    took_s = time.perf_counter() - began
    return {"uploads/s": round(len(uploads) / took_s), "processes": ledger.spent()}


def uploads_at(system: System, stream: Stream, rate: int, seconds: float) -> Figures:
    """Upload to recommendable at a steady rate."""
    uploads = list(stream.uploads(int(rate * seconds), f"new-{rate}-"))
    before = histogram(system.url, "upload_to_recommendable_seconds")
    ledger, began = Ledger(system.pids()), time.perf_counter()
    for number in paced(len(uploads), rate):
        system.send(UPLOADS, uploads[number][0].encode(), uploads[number][1])
    sent_s = time.perf_counter() - began
    system.flush()
    system.await_items([item for item, _ in uploads[-16:]], "live")
    found = grown(before, histogram(system.url, "upload_to_recommendable_seconds"))
    return {"sent/s": round(len(uploads) / sent_s), **found, "processes": ledger.spent()}


def engagements_at(system: System, stream: Stream, rate: int, seconds: float, framed: int) -> Figures:
    """Engagement to visible at a steady rate, in small frames."""
    messages = stream.engagements(int(rate * seconds), framed)
    before = histogram(system.url, "engagement_to_embedding_seconds")
    ledger = Ledger(system.pids())
    for number in paced(len(messages), rate / framed):
        send_frames(system, [messages[number]])
    last, marks = stream.sentinels()
    send_frames(system, last)
    system.await_items(marks, "counters")
    found = grown(before, histogram(system.url, "engagement_to_embedding_seconds"))
    return {"framed": framed, **found, "processes": ledger.spent()}


def throughput(system: System, stream: Stream, options: argparse.Namespace, *, ask: bool, profile: bool) -> Figures:
    """All engagements as fast as it goes, from the first send until the scorer shows the last."""
    messages = stream.engagements(options.events, options.framed)
    last, marks = stream.sentinels()
    assert system.workers[0].process is not None
    asking = Asking(system.url, stream.users)
    before = histogram(system.url, "engagement_to_embedding_seconds")
    if ask:
        asking.start()
    sampler = Sampler(system.workers[0].process.pid, system.workers[0].folder / "stacks.txt") if profile else None
    ledger, began = Ledger(system.pids()), time.perf_counter()
    send_frames(system, [*messages, *last])
    system.flush()
    sent_s = time.perf_counter() - began
    system.await_items(marks, "counters")
    took_s = time.perf_counter() - began
    processes = ledger.spent()
    worker_cpu_s = sum(spent["cpu_s"] for name, spent in processes.items() if name.startswith("worker"))
    found: Figures = {
        "events/s": round(options.events / took_s),
        "events per worker CPU second": round(options.events / worker_cpu_s),
        "sent in s": round(sent_s, 2),
        "visible in s": round(took_s, 2),
        "engagement → visible": grown(before, histogram(system.url, "engagement_to_embedding_seconds")),
        "processes": processes,
    }
    if sampler:
        found["worker CPU by part"] = sampler.stop()
    if ask:
        asking.end()
        found["recommend"] = _answers(asking, took_s)
    return found


def _answers(asking: Asking, seconds: float) -> Figures:
    return {"requests/s": round(len(asking.waits_s) / seconds), **quantiles(asking.waits_s), "failed": asking.failed}


def recommends(system: System, stream: Stream, seconds: float, batching: int = 0) -> Figures:
    """Recommend requests with nothing else going on, but for `batching` clients that loop batches."""
    asking = Asking(system.url, stream.users, batching=batching)
    asking.start()
    time.sleep(seconds)
    asking.end()
    return _answers(asking, seconds)


def exact(system: System, stream: Stream) -> Figures:
    """Whether every item's counters are what was sent; waits for the group to have committed everything."""
    await_committed(system.settings)
    published = {item: dict(counts) for item, counts in published_counters(system.settings).items()}
    sent = {item: dict(counts) for item, counts in stream.counters.items()}
    wrong = [item for item in sent | published if sent.get(item) != published.get(item)]
    return {"engagements": sum(sum(counts.values()) for counts in sent.values()), "items wrong": len(wrong)}


def beside(system: System, python: str) -> Figures:
    """The engagements on the log through Quix Streams."""
    topic, servers = system.settings.topic(ENGAGEMENTS), system.settings.kafka.bootstrap_servers
    script = Path(__file__).with_name("quix_counts.py")
    command = [python, str(script), servers, topic, str(system.workers[0].folder / "quix")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if ended.returncode:
        return {"failed": ended.stderr[-500:]}
    found: Figures = json.loads(ended.stdout.splitlines()[-1])
    return found


def measure(system: System, options: argparse.Namespace) -> Figures:
    """Every figure, quiet ones first."""
    stream = Stream(options.users, options.items, options.partitions)
    found: Figures = {"load before": os.getloadavg()[0], "uploads, as fast as it goes": fill(system, stream)}
    for rate in (60, 1200):
        found[f"uploads at {rate}/s"] = uploads_at(system, stream, rate, options.seconds)
    at = f"engagements at {options.rate}/s"
    found[at] = engagements_at(system, stream, options.rate, options.seconds, framed=20)
    rounds = [throughput(system, stream, options, ask=False, profile=False) for _ in range(options.rounds)]
    found["throughput"] = sorted(rounds, key=lambda figures: figures["events/s"])[len(rounds) // 2]
    found["throughput, profiled"] = throughput(system, stream, options, ask=False, profile=True)
    found["recommend alone"] = recommends(system, stream, options.seconds)
    found["recommend beside a client that loops batches of 100"] = recommends(
        system, stream, options.seconds, batching=1
    )
    found["throughput beside requests"] = throughput(system, stream, options, ask=True, profile=False)
    found["exact"] = exact(system, stream)
    if options.quix:
        found["Quix Streams, decode and count"] = beside(system, options.quix)
    return {**found, "load after": os.getloadavg()[0]}


def show(figures: Figures, indent: int = 0) -> None:
    """Nested figures as indented lines."""
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{'  ' * indent}{name}")
            show(value, indent + 1)
        else:
            print(f"{'  ' * indent}{name}".ljust(40) + (value if isinstance(value, str) else f"{value:>14,.6g}"))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.path", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kafka", type=Path, help="real Kafka from this folder, which holds its `libs`")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=200_000, help="engagements of a throughput round")
    parser.add_argument("--framed", type=int, default=200, help="engagements in one record")
    parser.add_argument("--rate", type=int, default=1000, help="engagements a second while their latency is measured")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each latency is measured")
    parser.add_argument("--rounds", type=int, default=1, help="throughput rounds; the median is shown")
    parser.add_argument("--quix", help="a Python with quixstreams, to run the same records through it")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.kafka:
        use_kafka(options.kafka)
    with tempfile.TemporaryDirectory() as folder:
        system = System(Path(folder), options)
        try:
            figures = measure(system, options)
        finally:
            system.stop()
    if options.json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        show(figures)
    return 0 if figures["exact"]["items wrong"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
