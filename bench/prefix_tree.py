"""Throughput and memory of the live prefix tree, and of assignment: `python -m bench.prefix_tree [--items N]`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from store.prefix_tree import PrefixTree
from store.settings import Settings
from trainer.codebook import zero_codebook


def seconds(act: Callable[[], object], rounds: int = 5) -> float:
    """Median wall time of `act`."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def tree_figures(items: int) -> dict[str, float]:
    """Bulk build, single insert and remove at full size, a beam's children, bytes an item."""
    random = np.random.default_rng(0)
    codes_NL = random.integers(0, 256, (items, 3))
    tree = PrefixTree((256, 256, 256))
    start = time.perf_counter()
    tree.insert_many(np.arange(items), codes_NL)
    built_s = time.perf_counter() - start
    bulk_bytes = tree.nbytes / items
    few = random.choice(items, 5000, replace=False).tolist()
    start = time.perf_counter()
    for item in few:
        tree.remove(item)
    removed_s = time.perf_counter() - start
    new = random.integers(0, 256, (len(few), 3)).tolist()
    start = time.perf_counter()
    for item, codes in zip(few, new, strict=True):
        tree.insert(item, codes)
    inserted_s = time.perf_counter() - start
    level1 = tree.children([0])[2]
    level2 = tree.children(level1)[2]
    return {
        "items": items,
        "build_s": built_s,
        "insert_us": inserted_s / len(few) * 1e6,
        "remove_us": removed_s / len(few) * 1e6,
        "children_of_24_beams_us": seconds(lambda: tree.children(level2[:24]), 200) * 1e6,
        "children_of_24_wide_nodes_us": seconds(lambda: tree.children(level1[:24]), 200) * 1e6,
        "mask_of_24_beams_us": seconds(lambda: tree.mask(level2[:24]), 200) * 1e6,
        "bytes_per_item_bulk": bulk_bytes,
        "bytes_per_item": tree.nbytes / items,
    }


def assign_figures() -> dict[str, float]:
    """Assignment under version zero, in batches and one at a time."""
    book = zero_codebook(Settings())
    random = np.random.default_rng(0)
    parts = [{"text": vector} for vector in random.standard_normal((4096, 256)).astype("f2")]
    x_ND = book.fuse(parts)
    return {
        "assign_per_s": len(x_ND) / seconds(lambda: book.assign(x_ND)),
        "assign_parts_per_s": len(parts) / seconds(lambda: book.assign_parts(parts)),
        "assign_one_ms": seconds(lambda: book.assign(x_ND[:1]), 200) * 1e3,
        "assign_parts_one_ms": seconds(lambda: book.assign_parts(parts[:1]), 200) * 1e3,
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    options = parser.parse_args()
    print(json.dumps(tree_figures(options.items) | assign_figures(), indent=2))


if __name__ == "__main__":
    main()
