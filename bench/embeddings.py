"""Open time and batch rates of the embedding store: `python -m bench.embeddings [--rows N] [--width D]`."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.prefix_tree import seconds
from store.embeddings import Block, EmbeddingRules, EmbeddingStore

BATCH = 1000


def block_of(rng: np.random.Generator, rows: int, width: int) -> Block:
    """Random rows."""
    vectors_BD = rng.standard_normal((rows, width)).astype(np.float32)
    ones_B = np.ones(rows)
    return Block(vectors_BD, ones_B.astype(np.float32), ones_B.astype(np.int64), 1e9 * ones_B, ones_B.astype(bool))


def store_figures(folder: Path, rows: int, width: int) -> dict[str, float]:
    """Writes all rows, opens them again, reads and writes batches: hot ones (a tenth as many as the cache) and any."""
    rng = np.random.default_rng(0)
    rules = EmbeddingRules(width=width)
    store = EmbeddingStore(folder / "vectors", rules)
    began = time.perf_counter()
    for first in range(0, rows, BATCH):
        store.write([f"item-{n}" for n in range(first, first + BATCH)], block_of(rng, BATCH, width))
    filled_s = time.perf_counter() - began
    store.close()
    began = time.perf_counter()
    store = EmbeddingStore(folder / "vectors", rules)
    store.read(["item-0"])
    opened_s = time.perf_counter() - began

    def keys(among: int) -> list[str]:
        return [f"item-{n}" for n in rng.integers(0, among, BATCH).tolist()]

    hot = min(rows, rules.cached_rows // 10)
    for first in range(0, hot, BATCH):
        store.read([f"item-{n}" for n in range(first, first + BATCH)])
    block = block_of(rng, BATCH, width)
    figures = {
        "rows": rows,
        "fill_rows_per_s": rows / filled_s,
        "open_s": opened_s,
        "read_hot_rows_per_s": BATCH / seconds(lambda: store.read(keys(hot)), 50),
        "read_any_rows_per_s": BATCH / seconds(lambda: store.read(keys(rows)), 50),
        "write_rows_per_s": BATCH / seconds(lambda: store.write(keys(rows), block), 50),
        "disk_bytes_per_row": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / rows,
    }
    store.close()
    return figures


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(store_figures(Path(folder), arguments.rows, arguments.width), indent=1))


if __name__ == "__main__":
    main()
