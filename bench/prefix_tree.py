"""Throughput and memory of the live prefix tree: `python -m bench.prefix_tree [--items N]`.

Times of single operations are medians of many, so that neighbours on the machine move them little. (What assignment
costs: `bench.codebook`.)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from store.memory.prefix_tree import PrefixTree


def seconds(act: Callable[[], object], rounds: int = 5) -> float:
    """Median wall time of `act`."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def each_us(act: Callable[..., object], calls: Sequence[tuple[Any, ...]]) -> list[float]:
    """Wall time of each call in microseconds."""
    times = []
    for call in calls:
        start = time.perf_counter()
        act(*call)
        times.append((time.perf_counter() - start) * 1e6)
    return times


def tree_figures(items: int) -> dict[str, float]:
    """Bulk build, single insert and remove at full size, a beam's children, bytes an item."""
    random = np.random.default_rng(0)
    codes_NL = random.integers(0, 256, (items, 3))
    tree = PrefixTree((256, 256, 256))
    start, start_cpu = time.perf_counter(), time.process_time()
    tree.insert_many(np.arange(items), codes_NL)
    built_s = time.perf_counter() - start
    built_cpu_s = time.process_time() - start_cpu
    bulk_bytes = tree.nbytes / items
    few = random.choice(items, 5000, replace=False).tolist()
    removed_us = each_us(tree.remove, [(item,) for item in few])
    new = random.integers(0, 256, (len(few), 3)).tolist()
    inserted_us = each_us(tree.insert, list(zip(few, new, strict=True)))
    level1 = tree.children([0])[2]
    level2 = tree.children(level1)[2]
    return {
        "items": items,
        "build_s": built_s,
        "build_cpu_s": built_cpu_s,
        "insert_p50_us": float(np.median(inserted_us)),
        "insert_p99_us": float(np.quantile(inserted_us, 0.99)),
        "remove_p50_us": float(np.median(removed_us)),
        "remove_p99_us": float(np.quantile(removed_us, 0.99)),
        "children_of_24_beams_us": seconds(lambda: tree.children(level2[:24]), 200) * 1e6,
        "children_of_24_wide_nodes_us": seconds(lambda: tree.children(level1[:24]), 200) * 1e6,
        "mask_of_24_beams_us": seconds(lambda: tree.mask(level2[:24]), 200) * 1e6,
        "bytes_per_item_bulk": bulk_bytes,
        "bytes_per_item": tree.nbytes / items,
    }


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    options = parser.parse_args()
    print(json.dumps(tree_figures(options.items), indent=2))


if __name__ == "__main__":
    main()
