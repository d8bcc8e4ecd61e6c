"""What a published row of an item costs: the owner who writes it, and each scorer that reads it, without Kafka.

    python -m bench.item_rows [--items 10000] [--batch 100] [--rounds 5] [--json]

Items have 64 to 96 neighbours by Zipf's law, and vectors; in each round every row has changed as a few engagements
change it (weights, some neighbours more, some gone). Told as µs of processor time by row, the median of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from bench.path_parts import cards, tell
from store.items import ItemRow, row_in
from store.row_blocks.item_block import block_of
from store.settings import settings_from
from store.signals import Signal
from stream.ingest.assignment import Assignment
from stream.ingest.item_owners import ItemOwners
from stream.kafka.emitter import Emitter
from stream.kafka.state_topics import CAUSED_AT, GENERATION
from stream.metrics.metrics import Metrics
from stream.serving.reading.broadcast import BATCH
from stream.serving.scorer import Scorer
from trainer.content.encoders import text_encoder
from trainer.items.item_learning import ItemRules, absorb

WIDTH = 64
CONTEXT = 20
AT_S = 1_700_000_000.0


class World:
    """The rows of all items, as their owners have them."""

    def __init__(self, items: int, rules: ItemRules) -> None:
        self._rng = np.random.default_rng(0)
        self._rules = rules
        weight_N = 1.0 / np.arange(1, items + 1)
        self._share_N = np.cumsum(weight_N / weight_N.sum())
        self.ids = [f"item-{number}" for number in range(items)]
        self.rows = [ItemRow() for _ in self.ids]
        self._offset = 0
        for _ in range(6):
            self.change()

    def change(self) -> None:
        """Each item is engaged with once."""
        self._offset += 1
        for item_id, row in zip(self.ids, self.rows, strict=True):
            drawn = np.minimum(np.searchsorted(self._share_N, self._rng.random(CONTEXT)), len(self.ids) - 1)
            context = list(dict.fromkeys(self.ids[place] for place in drawn.tolist()))
            signal = Signal(item_id, "", 1, AT_S + self._offset, 1.0, None, context)
            absorb(row, signal, self._rules)
            vector_D = self._rng.standard_normal(WIDTH)
            row.vector = (vector_D / np.linalg.norm(vector_D)).astype("<f2").tobytes()
            row.offset = self._offset


def scorer_of(items: int) -> Scorer:
    """A scorer with the cards of all items."""
    settings = settings_from({"kafka": {"partitions": 2, "bootstrap_servers": "127.0.0.1:1"}})
    owners = ItemOwners(Assignment({}, lambda _: None), 2)
    encoder = text_encoder(settings.content.encoder)
    scorer = Scorer(settings, metrics=Metrics(), encoder=encoder, emitter=Emitter(settings), owners=owners)
    for card in cards(items, settings, scorer.codebook().version):
        scorer.recommender.insert(card)
    return scorer


def records_of(ids: Sequence[str], values: Sequence[bytes]) -> list[Any]:
    """Records as aiokafka hands them on."""
    headers = [(GENERATION, b"1"), (CAUSED_AT, str(int(time.time() * 1000)).encode())]
    return [
        SimpleNamespace(key=item_id.encode(), value=value, partition=0, headers=headers, offset=0)
        for item_id, value in zip(ids, values, strict=True)
    ]


def in_batches(size: int, batch: int, do: Callable[[slice], Any]) -> list[Any]:
    return [do(slice(begin, begin + batch)) for begin in range(0, size, batch)]


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Part → µs by row."""
    scorer = scorer_of(options.items)
    world = World(options.items, scorer.recommender.rules.item)
    spent: dict[str, list[float]] = {}

    def timed(part: str, do: Callable[[], Any]) -> Any:
        began = time.process_time()
        made = do()
        spent.setdefault(part, []).append((time.process_time() - began) / options.items * 1e6)
        return made

    def blocks() -> list[Any]:
        return in_batches(options.items, options.batch, lambda part: block_of(world.ids[part], world.rows[part]))

    def read(records: list[Any]) -> list[Any]:
        return in_batches(options.items, options.batch, lambda part: scorer.rows.on_records(records[part]))

    encode = msgspec.msgpack.Encoder().encode
    for number in range(options.rounds):
        world.change()
        values = timed("row encoded", partial(list, map(encode, world.rows)))
        timed("row decoded", partial(list, map(row_in, values)))
        timed("columns made", blocks)
        timed("rows read", partial(read, records_of(world.ids, values)))
        if not number:
            scorer.recommender.maintain()
    scorer.close()
    return {part: round(statistics.median(each), 2) for part, each in spent.items()}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.item_rows", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=BATCH, help="rows that come together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    tell(measure(options), "µs of processor time by row", as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
