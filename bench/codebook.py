"""A learned codebook's cost: `python -m bench.codebook [--items 20000] [--encoder static] [--threads 2]`.

Items and engagements of a simulated population. Training (aligned with behaviour, words and all) in CPU and wall
seconds; assignment of fused rows, of items given by their parts or cards, and of one; each by wall clock and by CPU
time, since on a shared machine the wall clock tells of the neighbours.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch

from store.events import Engagement, Upload
from store.settings import Settings
from stream.demo.population import Census, Population
from trainer.content.encoders import content_parts, text_encoder
from trainer.semantic_ids.cards import plain_card
from trainer.semantic_ids.codebook import Codebook, zero_codebook
from trainer.semantic_ids.training import train_codebook
from trainer.semantic_ids.word_map import WORDS, buckets_of, parts_of


def population(items: int, engagements: int) -> tuple[list[Upload], list[list[int]]]:
    """Uploads, and users' items in order."""
    uploads: list[Upload] = []
    place: dict[str, int] = {}
    sequences: dict[str, list[int]] = {}
    seen = 0
    for event in Population(Census(users=max(2000, items // 4), creators=items // 20 + 20, first_items=items)):
        if isinstance(event, Upload):
            place[event.item_id] = len(uploads)
            uploads.append(event)
        elif isinstance(event, Engagement):
            sequences.setdefault(event.user_id, []).append(place[event.item_id])
            seen += 1
        if seen >= engagements:
            break
    return uploads, list(sequences.values())


def spent(act: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Least wall and CPU seconds of one round."""
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        act()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def assigning(book: Codebook, uploads: list[Upload], encoder: str) -> dict[str, float]:
    """Throughput in batches, and the time for one."""
    some = uploads[:4096]
    parts = content_parts(some, text_encoder(encoder))
    cards = [plain_card(upload, part, 0) for upload, part in zip(some, parts, strict=True)]
    known = [{**part, WORDS: buckets_of(card)} for part, card in zip(parts, cards, strict=True)]
    x_ND = book.fuse(known)
    figures: dict[str, float] = {}
    whole: dict[str, Callable[[], object]] = {
        "rows": lambda: book.assign(x_ND),
        "parts": lambda: book.assign_parts(known),
        "cards": lambda: book.assign_parts([parts_of(card) for card in cards]),
    }
    for name, act in whole.items():
        wall_s, cpu_s = spent(act, 5)
        figures |= {f"{name}_per_s": len(some) / wall_s, f"{name}_per_cpu_s": len(some) / cpu_s}
    alone: dict[str, Callable[[], object]] = {
        "one_row": lambda: [book.assign(x_ND[i : i + 1]) for i in range(200)],
        "one_from_parts": lambda: [book.assign_parts(known[i : i + 1]) for i in range(200)],
    }
    for name, act in alone.items():
        wall_s, cpu_s = spent(act, 3)
        figures |= {f"{name}_ms": wall_s * 5, f"{name}_cpu_ms": cpu_s * 5}
    return {name: round(value, 3) if value < 100 else round(value) for name, value in figures.items()}


def main() -> None:
    """Prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--engagements", type=int, default=100_000)
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    uploads, sequences = population(asked.items, asked.engagements)
    parts = content_parts(uploads, text_encoder(asked.encoder))
    parts = [{**part, WORDS: buckets_of(plain_card(up, {}, 0))} for part, up in zip(parts, uploads, strict=True)]
    wall, cpu = time.perf_counter(), time.process_time()
    book = train_codebook(parts, sequences, Settings())
    training = {"items": len(parts), "pairs": book.about["pairs"], "train_s": time.perf_counter() - wall}
    training |= {"train_cpu_s": time.process_time() - cpu}
    made = {
        "learned": assigning(book, uploads, asked.encoder),
        "zero": assigning(zero_codebook(Settings()), uploads, asked.encoder),
    }
    print(json.dumps({"threads": asked.threads, "training": training, "assign": made}, indent=2))


if __name__ == "__main__":
    main()
