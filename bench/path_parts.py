"""What each part of an engagement's way costs, without Kafka, in one process.

    python -m bench.path_parts [--slices 8] [--events 1000] [--json]
    python -m bench.path_parts --instructions [--slices 4]

Frames are absorbed by the user side and scored, their signals by the item side; both publish, and the scorer reads the
items' rows. Told as µs of processor time by engagement (median of the slices); with `--instructions`, which wants
valgrind and a C compiler and takes some minutes, as millions of processor instructions in all: the same number on a
busy machine, so two commits can be compared to a percent.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from bench.path_stream import Stream
from store.items import ItemCard
from store.settings import Settings, settings_from
from store.topics import ENGAGEMENTS, ITEM_SIGNALS
from stream.ingest.assignment import Assignment
from stream.ingest.factories import IngestFactories
from stream.ingest.growth.unknown_items import UnknownItems
from stream.ingest.item_owners import ItemOwners
from stream.ingest.protocol.partition_context import PartitionContext
from stream.ingest.upload_partition import Cataloguing
from stream.kafka.emitter import Emitter
from stream.kafka.records import Record
from stream.kafka.state_topics import CAUSED_AT, GENERATION
from stream.metrics.metrics import Metrics
from stream.serving.reading.broadcast import BATCH
from stream.serving.scorer import Scorer
from trainer.content.encoders import text_encoder

PARTITIONS = 2
RECORDS = 5
"""Of a batch: a partition takes 32 KiB at once."""

Part = Callable[[str], AbstractContextManager[None]]
"""Measures what is done in it, under a name."""

SHIM = """
#include <valgrind/callgrind.h>
void toggle(void) { CALLGRIND_TOGGLE_COLLECT; }
void dump(const char *part) { CALLGRIND_DUMP_STATS_AT(part); }
"""


class Parts:
    """The user and item sides of all partitions, and a scorer with `items` items, in a folder."""

    def __init__(self, folder: Path, items: int, users: int) -> None:
        kafka = {"partitions": PARTITIONS, "bootstrap_servers": "127.0.0.1:1"}
        self.settings = settings_from({"data_dir": str(folder), "kafka": kafka})
        metrics, emitter, encoder = Metrics(), Emitter(self.settings), text_encoder(self.settings.content.encoder)
        owners = ItemOwners(Assignment({}, lambda _: None), PARTITIONS)
        self.scorer = scorer = Scorer(self.settings, metrics=metrics, encoder=encoder, emitter=emitter, owners=owners)
        factories = IngestFactories(
            context=PartitionContext(settings=self.settings, emitter=emitter, metrics=metrics),
            folder=folder / "rows",
            cataloguing=Cataloguing(
                encoder=encoder, codebook=scorer.codebook, known_card=scorer.card, executor=ThreadPoolExecutor(1)
            ),
            scoring=scorer.examples,
            published=scorer.recommender.published,
            rows_per_s=lambda _: 1e9,
            own_url=str,
            unknown_items=UnknownItems(lambda item_id: scorer.card(item_id) is None, metrics),
        )
        for card in cards(items, self.settings, scorer.codebook().version):
            scorer.recommender.insert(card)
        self.users = [factories.users(number) for number in range(PARTITIONS)]
        self.items = [factories.items(number) for number in range(PARTITIONS)]
        self.stream = Stream(users, items, PARTITIONS)
        self._ends: dict[tuple[str, int], int] = defaultdict(int)

    def run(self, events: int, part: Part) -> None:
        """Takes so many engagements all the way."""
        came: dict[int, list[Record]] = defaultdict(list)
        for message in self.stream.engagements(events, 100):
            came[message.partition].append(self._record(ENGAGEMENTS, message.partition, message.key, message.value))
        signals: dict[int, list[Record]] = defaultdict(list)
        for number, records in came.items():
            for batch in batches(records):
                with part("user absorb"):
                    effects = self.users[number].side.absorb(batch)
                with part("score"):
                    self.users[number]._score(effects.read)
                for item_partition, key, value in effects.signals:
                    signals[item_partition].append(self._record(ITEM_SIGNALS, item_partition, key, value))
        for number, records in signals.items():
            for batch in batches(records):
                with part("item absorb"):
                    self.items[number].side.absorb(batch)
        for users in self.users:
            users.side.rows.position.safe = users.side.rows.position.absorbed
            with part("user flush"):
                users.side.flush()
        rows = []
        for number, items in enumerate(self.items):
            with part("item flush"):
                changed = items.side.flush()
            headers = [(GENERATION, b"1"), (CAUSED_AT, str(int(time.time() * 1000)).encode())]
            rows += [
                SimpleNamespace(key=item_id.encode(), value=change.row, partition=number, headers=headers, offset=0)
                for item_id, change in changed.items()
            ]
        with part("rows read"):
            for begin in range(0, len(rows), BATCH):
                self.scorer.rows.on_records(rows[begin : begin + BATCH])

    def _record(self, topic: str, partition: int, key: bytes, value: bytes) -> Record:
        offset = self._ends[topic, partition]
        self._ends[topic, partition] += 1
        return Record(topic, partition, offset, int(time.time() * 1000) + 10, key, value, lambda: None)


def cards(items: int, settings: Settings, codebook: str) -> Iterator[ItemCard]:
    """Cards with random content of the default encoder's width."""
    rng, now = np.random.default_rng(0), time.time()
    codes = [0] * settings.codebook.levels
    for number in range(items):
        vector_D = rng.standard_normal(384)
        content = base64.b64encode((vector_D / np.linalg.norm(vector_D)).astype("<f2").tobytes()).decode()
        yield ItemCard(
            item_id=f"item-{number}",
            codebook=codebook,
            codes=codes,
            suffix=number,
            assigned_at=now,
            uploaded_at=now,
            published_at_ms=int(now * 1000),
            title=f"title {number}",
            content={"text": content},
        )


def batches(records: list[Record]) -> Iterator[list[Record]]:
    for begin in range(0, len(records), RECORDS):
        yield records[begin : begin + RECORDS]


def timed(spent: dict[str, float]) -> Part:
    """Adds up seconds of processor time by part."""

    @contextmanager
    def part(name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        spent[name] = spent.get(name, 0.0) + time.process_time() - began

    return part


def counted(shim: str) -> Part:
    """Has valgrind count the instructions of each part alone."""
    library = ctypes.CDLL(shim)

    @contextmanager
    def part(name: str) -> Iterator[None]:
        library.toggle()
        yield
        library.toggle()
        library.dump(name.encode())

    return part


def times(options: argparse.Namespace) -> dict[str, float]:
    """µs by engagement; the first slice warms up."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder), options.items, options.users)
        slices: list[dict[str, float]] = []
        for _ in range(options.slices + 1):
            slices.append({})
            parts.run(options.events, timed(slices[-1]))
    found = {name: statistics.median(one[name] for one in slices[1:]) for name in slices[0]}
    return {name: round(seconds / options.events * 1e6, 2) for name, seconds in found.items()}


def instructions(options: argparse.Namespace) -> dict[str, float]:
    """Millions of instructions, counted in a process of its own."""
    valgrind, compiler = shutil.which("valgrind"), shutil.which("cc")
    if not valgrind or not compiler:
        raise SystemExit("--instructions wants valgrind (with its headers) and a C compiler: install both")
    with tempfile.TemporaryDirectory() as folder:
        shim = Path(folder) / "shim.so"
        command = [compiler, "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(shim)]
        subprocess.run(command, input=SHIM.encode(), check=True)
        command = [valgrind, "-q", "--tool=callgrind", "--collect-atstart=no", f"--callgrind-out-file={folder}/counts"]
        command += [sys.executable, "-m", "bench.path_parts", "--shim", str(shim), "--slices", str(options.slices)]
        command += ["--events", str(options.events), "--items", str(options.items), "--users", str(options.users)]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "0"}, stderr=subprocess.DEVNULL)
        found: dict[str, float] = {}
        for file in Path(folder).glob("counts.*"):
            text = file.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE | re.IGNORECASE)
            total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
            if name and total:
                found[name[1]] = found.get(name[1], 0.0) + int(total[1]) / 1e6
    return {name: round(count, 1) for name, count in found.items()}


def count_here(options: argparse.Namespace) -> None:
    """Runs under valgrind."""
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder), options.items, options.users)
        for _ in range(options.slices):
            parts.run(options.events, counted(options.shim))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.path_parts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--events", type=int, default=1000, help="engagements of a slice")
    parser.add_argument("--items", type=int, default=1500)
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--instructions", action="store_true", help="count instructions instead of time")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--shim", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.shim:
        count_here(options)
        return 0
    found = instructions(options) if options.instructions else times(options)
    found["all"] = round(sum(found.values()), 2)
    unit = "million instructions" if options.instructions else "µs by engagement"
    tell(found, unit, as_json=options.json)
    return 0


def tell(found: Mapping[str, float], unit: str, *, as_json: bool) -> None:
    """Prints what each part costs."""
    if as_json:
        print(json.dumps({"unit": unit, **found}))
    else:
        print("\n".join(f"{name:<16}{value:>10,.1f}  {unit}" for name, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
