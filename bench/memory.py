"""What an item costs a scorer: bytes of resident memory and of each structure, by the item.

    python -m bench.memory [--items 20000] [--neighbours 20] [--fit] [--role ingest] [--json]

One scorer reads cards and rows as they lie on the topics. An item has a title of five words, a category, three tags,
the content of the static encoder (256 numbers), a learned vector and transitions from `--neighbours` others on average,
most of them from items near by. With `--role ingest` it is what a worker keeps in its place that answers nothing.
`--fit` fits the embeddings and measures again: what a fit holds for a moment is in the peak.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from store.items import ItemCard, ItemRow, pack_parts
from store.keys import partition_of
from store.records.foreign import ForeignRecords
from store.settings import RoleName, Settings, settings_from
from store.topics import ITEM_STATES, SEMANTIC_IDS
from stream.ingest.assignment import Assignment
from stream.ingest.item_owners import ItemOwners
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import CAUSED_AT, GENERATION
from stream.metrics.metrics import Metrics
from stream.serving.learning.learner import Learner
from stream.serving.scorer import Scorer
from trainer.content.encoders import text_encoder
from trainer.items.catalog import Catalog

START_S = 1.7e9
WORDS = 30_000
"""Different words that titles are made of, by Zipf's law."""
SHALLOW = (Settings, Metrics, Emitter, ModuleType, type, FunctionType)
"""What is no item's: it is not looked into."""
DEPTH = 3
FETCHED = 250
"""Records that come at once."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--fit", action="store_true", help="fit the embeddings, and measure again")
    parser.add_argument("--role", choices=["serve", "ingest"], default="serve")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), chosen.items, chosen.neighbours, fit=chosen.fit, role=chosen.role)
    print(
        json.dumps(found) if chosen.json else "\n".join(f"{name:44} {value:>12,.1f}" for name, value in found.items())
    )
    return 0


def measure(folder: Path, items: int, neighbours: int, *, fit: bool, role: RoleName = "serve") -> dict[str, float]:
    """Bytes by the item, but for what says another unit."""
    kafka = {"partitions": 2, "bootstrap_servers": "127.0.0.1:1"}
    settings = settings_from({"data_dir": str(folder), "role": role, "kafka": kafka})
    scorer = empty_scorer(settings)
    before = resident()
    found: dict[str, float] = {}
    take_card, take_rows = scorer.handlers()[SEMANTIC_IDS], scorer.batch_handlers()[ITEM_STATES]

    def take_cards(records: list[Any]) -> None:
        for record in records:
            take_card(record)

    for name, records, take in (
        ("card", cards(settings, items, scorer), take_cards),
        ("row", rows(settings, items, neighbours), take_rows),
    ):
        spent_s = 0.0
        while fetch := list(islice(records, FETCHED)):
            began = time.process_time()
            take(fetch)
            spent_s += time.process_time() - began
        gc.collect()
        found[f"{name} read, µs of CPU"] = spent_s / items * 1e6
        found[f"resident after the {name}s"] = (resident() - before) / items
    if fit:
        began = time.process_time()
        refit(scorer)
        found["fit, s of CPU"] = time.process_time() - began
        gc.collect()
        found["resident after a fit"] = (resident() - before) / items
    found["peak of resident"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / items
    parts = sizes(scorer)
    found |= {f"  {name}": size / items for name, size in parts.most_common() if size > items}
    found["all structures"] = sum(parts.values()) / items
    text = sum(sys.getsizeof(item_id) for item_id in catalog_of(scorer).ids)
    found["of which the ids' text"] = text / items
    return found


def refit(scorer: Scorer | Learner) -> None:
    """What is fitted now and then."""
    if isinstance(scorer, Scorer):
        scorer.recommender.spectral.refit()
        scorer.recommender.published.refit()
    else:
        scorer.items.published.refit()


def empty_scorer(settings: Settings) -> Scorer | Learner:
    """A scorer, or what stands in its place where nothing is answered."""
    owners = ItemOwners(Assignment({}, lambda _: None), settings.kafka.partitions)
    if not settings.work.answers:
        return Learner(settings, owners=owners, foreign=ForeignRecords())
    encoder = text_encoder(settings.content.encoder)
    return Scorer(settings, metrics=Metrics(), encoder=encoder, emitter=Emitter(settings), owners=owners)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def cards(settings: Settings, items: int, scorer: Scorer | Learner) -> Iterator[Any]:
    """The records of cards, as an owner publishes them."""
    rng, widths = np.random.default_rng(0), scorer.codebook().widths
    version = scorer.codebook().version
    for number in range(items):
        vector_D, at_s = rng.standard_normal(256), START_S + number
        card = ItemCard(
            item_id=f"item-{number:09}",
            codebook=version,
            codes=[int(rng.integers(width)) for width in widths],
            suffix=number % 65_536,
            assigned_at=at_s,
            uploaded_at=at_s,
            published_at_ms=int(at_s * 1000),
            title=" ".join(_words(rng, 5)),
            tags=[f"tag{rng.integers(500)}" for _ in range(3)],
            category=f"category{rng.integers(50)}",
            content=pack_parts({"text": vector_D / np.linalg.norm(vector_D)}),
            upload_offset=number,
        )
        yield record_of(settings, card.item_id, msgspec.json.encode(card), number)


def _words(rng: np.random.Generator, count: int) -> list[str]:
    return [f"word{int(rng.zipf(1.2)) % WORDS}" for _ in range(count)]


def rows(settings: Settings, items: int, neighbours: int) -> Iterator[Any]:
    """The records of rows, as an owner publishes them."""
    rng = np.random.default_rng(1)
    for number in range(items):
        count = min(64, int(rng.pareto(1.5) * neighbours / 2) + 1)
        near = (number + np.round(rng.standard_cauchy(count) * 10).astype(int)) % items
        vector_D, at_s = rng.standard_normal(64), START_S + items + number
        row = ItemRow(
            offset=number,
            counters={0: count, 1: count // 2 + 1},
            positives=count,
            first_at=at_s - 1000,
            last_at=at_s,
            decayed_at=at_s,
            popularity=[1.0 + count / (place + 1) for place in range(7)],
            neighbours={f"item-{other:09}": float(rng.random() + 0.1) for other in near.tolist() if other != number},
            landmark=at_s,
            vector=(vector_D / np.linalg.norm(vector_D)).astype("<f2").tobytes(),
            step=1.0,
        )
        yield record_of(settings, f"item-{number:09}", msgspec.msgpack.encode(row), number)


def record_of(settings: Settings, item_id: str, value: bytes, offset: int) -> Any:
    now_ms = int(time.time() * 1000)
    return SimpleNamespace(
        key=item_id.encode(),
        value=value,
        partition=partition_of(item_id, settings.kafka.partitions),
        headers=[(GENERATION, b"1"), (CAUSED_AT, str(now_ms).encode())],
        offset=offset,
        timestamp=now_ms,
    )


def catalog_of(scorer: Scorer | Learner) -> Catalog:
    return scorer.recommender.catalog if isinstance(scorer, Scorer) else scorer.items.catalog


def sizes(scorer: Scorer | Learner) -> Counter[str]:
    """Bytes by structure: objects that several share count for the first. Ids come first."""
    seen: set[int] = set()
    found = Counter({"ids": deep_size(catalog_of(scorer).ids, seen)})
    _walk("", scorer, seen, found, DEPTH)
    return found


def _walk(path: str, owner: object, seen: set[int], found: Counter[str], depth: int) -> None:
    """Adds the parts of an object up to a depth, each under its path."""
    if id(owner) in seen or isinstance(owner, SHALLOW):
        return
    attributes = getattr(owner, "__dict__", None) or {
        name: getattr(owner, name) for name in getattr(type(owner), "__slots__", ()) if hasattr(owner, name)
    }
    plain = type(owner).__module__.split(".")[0] not in ("store", "trainer", "stream")
    if depth == 0 or plain or not attributes:
        found[path] += deep_size(owner, seen)
        return
    seen.add(id(owner))
    for name, value in attributes.items():
        _walk(f"{path}.{name}" if path else name, value, seen, found, depth - 1)


def deep_size(top: object, seen: set[int]) -> int:
    """Bytes of an object and of what only it holds, as far as Python knows; arrays with their numbers."""
    size, waiting = 0, [top]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, SHALLOW):
            continue
        seen.add(id(one))
        size += sys.getsizeof(one)
        if isinstance(one, np.ndarray):
            if one.base is not None:
                waiting.append(one.base)
            continue
        waiting += gc.get_referents(one)
    return size


if __name__ == "__main__":
    sys.exit(main())
