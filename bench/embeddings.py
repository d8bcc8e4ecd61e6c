"""Open time, batch rates and nearest neighbours of the embedding store: `python -m bench.embeddings [--rows N]`.

`--usearch` asks an HNSW index of usearch beside the exact product, where usearch is installed (it is no dependency).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.prefix_tree import seconds
from store.embeddings import Block, EmbeddingRules, EmbeddingStore
from store.neighbours import Neighbours

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
    began = time.perf_counter()
    store.snapshot(folder / "copy")
    figures["snapshot_s"] = time.perf_counter() - began
    store.close()
    return figures


def neighbour_figures(items: int, width: int, usearch: bool) -> dict[str, float]:
    """The 100 nearest of `items`, and what a changed row costs."""
    rng = np.random.default_rng(1)
    vectors_ND = rng.standard_normal((items, width)).astype(np.float32)
    neighbours = Neighbours(width)
    places = np.arange(items)
    neighbours.put(places, vectors_ND)
    queries = iter(rng.standard_normal((100_000, width)).astype(np.float32))
    some = rng.integers(0, items, BATCH)
    figures = {
        "items": items,
        "exact_ms": 1e3 * seconds(lambda: neighbours.nearest(next(queries), 100), 100),
        "exact_change_us": 1e6 * seconds(lambda: neighbours.put(some, vectors_ND[some]), 20) / BATCH,
    }
    return figures | (_usearch_figures(vectors_ND, neighbours) if usearch else {})


def _usearch_figures(vectors_ND: np.ndarray, neighbours: Neighbours) -> dict[str, float]:
    from usearch.index import Index  # type: ignore[import-not-found,unused-ignore]

    items, width = vectors_ND.shape
    index = Index(ndim=width, metric="cos", dtype="f32")
    began = time.perf_counter()
    index.add(np.arange(items), vectors_ND, threads=1)
    added_us = 1e6 * (time.perf_counter() - began) / items
    queries = np.random.default_rng(2).standard_normal((100, width)).astype(np.float32)
    found = [set(np.asarray(index.search(query, 100, threads=1).keys).tolist()) for query in queries]
    exact = [set(neighbours.nearest(query, 100)[0].tolist()) for query in queries]
    asked = iter(np.tile(queries, (10, 1)))

    def change() -> None:
        index.remove(7, compact=False)
        index.add(7, vectors_ND[7], threads=1)

    return {
        "usearch_ms": 1e3 * seconds(lambda: index.search(next(asked), 100, threads=1), 100),
        "usearch_recall": float(np.mean([len(a & b) / 100 for a, b in zip(found, exact, strict=True)])),
        "usearch_add_us": added_us,
        "usearch_change_us": 1e6 * seconds(change, 50),
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--usearch", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps(neighbour_figures(arguments.items, arguments.width, arguments.usearch), indent=1))
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(store_figures(Path(folder), arguments.rows, arguments.width), indent=1))


if __name__ == "__main__":
    main()
