"""The model alone, on a recorded stream: what it learns in bounded time, and what an answer costs.

    python -m bench.model DIR [--seconds 60] [--increment 0.1] [--threads 1] [--json]

A first run learns from all but the last part of the stream, a second continues on that part; each is judged by the gate
on the newest engagements, which it has not seen: hit ratio and NDCG at 10 of the model alone (constrained decoding over
all items), beside what is popular in the newest 5 %. No worker, no Kafka: the trainer's own functions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch

from store.checkpoints import CheckpointFolder
from store.events import Engagement, Upload
from store.items import ItemCard, pack_parts
from store.log import LoggedEngagement
from store.memory.prefix_tree import PrefixTree
from store.settings import Settings, Training
from trainer.checkpoint_loading import LoadedCheckpoint, load_checkpoint
from trainer.content.encoders import content_parts, text_encoder
from trainer.model.beam_search import best_per_owner, live_log_probabilities
from trainer.model.prompts import Past, prompt_for
from trainer.runs.log_window import Window
from trainer.runs.training_run import Result, run_training
from trainer.semantic_ids.codebook import suffix_of, zero_codebook
from trainer.semantic_ids.word_map import parts_of

Event = TypeVar("Event", Upload, Engagement)


def lines(folder: Path, name: str, kind: type[Event]) -> Iterator[Event]:
    """Events of a recorded stream."""
    packed = folder / f"{name}.jsonl.gz"
    decoder = msgspec.json.Decoder(kind)
    with gzip.open(packed) if packed.exists() else (folder / f"{name}.jsonl").open("rb") as stream:
        for line in stream:
            yield decoder.decode(line)


def cards_of(folder: Path, settings: Settings) -> dict[str, ItemCard]:
    """Every item of the stream, as the upload agent would publish it under codebook version zero."""
    book, encoder = zero_codebook(settings), text_encoder("static")
    uploads = list(lines(folder, "uploads", Upload))
    parts = content_parts(uploads, encoder)
    codes_NL = book.assign_parts(parts)
    return {
        upload.item_id: ItemCard(
            item_id=upload.item_id,
            codebook=book.version,
            codes=codes.tolist(),
            suffix=suffix_of(upload.item_id),
            assigned_at=upload.uploaded_at,
            uploaded_at=upload.uploaded_at,
            published_at_ms=int(upload.uploaded_at * 1000),
            title=upload.title or "",
            tags=upload.tags,
            category=upload.category,
            content=pack_parts(part),
        )
        for upload, part, codes in zip(uploads, parts, codes_NL, strict=True)
    }


def train(
    window: Window, settings: Settings, folder: CheckpointFolder, parent: LoadedCheckpoint | None
) -> dict[str, Any]:
    began = time.monotonic()
    result: Result = run_training(window, settings, folder, parent, lambda _step, _done: None)
    learned = result.outcome
    return {
        "checkpoint": result.manifest.checkpoint,
        "seconds": round(time.monotonic() - began, 1),
        "learning_seconds": round(learned.seconds, 1),
        "targets_per_s": round(learned.targets / learned.seconds),
        "steps": learned.steps,
        "behaviour_loss": round(learned.behaviour_loss, 3),
        "metadata_loss": round(learned.metadata_loss, 3),
        "verdict": result.manifest.verdict,
        "reasons": result.judgement.reasons,
        "hr@10": {f"{role}/{name}": round(value, 4) for (role, name), value in result.judgement.hit_ratio.items()},
        "ndcg@10": {f"{role}/{name}": round(value, 4) for (role, name), value in result.judgement.gain.items()},
    }


def decoding(loaded: LoadedCheckpoint, items: list[ItemCard], beams: int = 24, history: int = 30) -> dict[str, float]:
    """Milliseconds of one answer on one thread, and the constraint's part of it."""
    torch.set_num_threads(1)
    codes_IL = np.array(loaded.codebook.assign_parts([parts_of(card) for card in items]))
    tree = PrefixTree(loaded.codebook.widths)
    tree.insert_many(np.arange(len(items)), codes_IL)
    random = np.random.default_rng(0)
    vocabulary = loaded.generator.vocabulary
    prompts = [
        prompt_for(
            vocabulary,
            task="home",
            now=history * 3600.0,
            history=[
                Past(codes_IL[i].tolist(), 1, n * 3600.0) for n, i in enumerate(random.integers(0, len(items), history))
            ],
        )
        for _ in range(200)
    ]
    generator = loaded.generator
    for prompt in prompts[:20]:
        generator.generate([prompt], tree, beams)
    one = median_ms(lambda n: generator.generate([prompts[n]], tree, beams), len(prompts))
    many = median_ms(lambda n: generator.generate(prompts[n * 16 : n * 16 + 16], tree, beams), 12)
    scored = median_ms(lambda n: generator.score(prompts[n], codes_IL[:300]), 50)
    constraint = median_ms(lambda n: walk(tree, beams, np.random.default_rng(n)), 100)
    return {
        "one_ms": one,
        "batch_of_16_ms": many,
        "score_300_items_ms": scored,
        "constraint_ms": constraint,
        "constraint_part": round(constraint / one, 3),
    }


def walk(tree: PrefixTree, beams: int, random: np.random.Generator) -> None:
    """What the constraint adds to a search: live branches, renormalisation, the best of them; without the model."""
    node_M, score_M = np.zeros(1, np.int64), np.zeros(1)
    for width in tree.widths:
        parent_N, code_N, child_N = tree.children(node_M)
        logit_N = LOGITS[: len(node_M), :width][parent_N, code_N]
        score_N = score_M[parent_N] + live_log_probabilities(logit_N, parent_N, len(node_M))
        best = best_per_owner(np.zeros(len(parent_N), np.int64), score_N + 0.01 * random.random(len(score_N)), beams)
        node_M, score_M = np.asarray(child_N)[best], score_N[best]


LOGITS = np.random.default_rng(0).standard_normal((64, 4096)).astype(np.float32)


def median_ms(call: Callable[[int], object], times: int) -> float:
    took = []
    for n in range(times):
        began = time.perf_counter()
        call(n)
        took.append(time.perf_counter() - began)
    return round(1000 * float(np.median(took)), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="bound of each run")
    parser.add_argument("--increment", type=float, default=0.1, help="part of the stream that the second run adds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--held", type=int, default=1000, help="newest engagements that judge a run")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="training settings")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    chosen = {key: json.loads(value) for key, value in (pair.split("=") for pair in asked.set)}
    bounds = {"max_seconds": asked.seconds, "threads": asked.threads, "gate_engagements": asked.held, **chosen}
    settings = Settings(training=msgspec.convert(bounds, Training))
    items = cards_of(asked.folder, settings)
    logged = [
        LoggedEngagement(e, 0, n, int(e.occurred_at * 1000))
        for n, e in enumerate(lines(asked.folder, "engagements", Engagement))
    ]
    first_end = round(len(logged) * (1 - asked.increment))
    with tempfile.TemporaryDirectory() as place:
        folder = CheckpointFolder(Path(place))
        report = {
            "stream": asked.folder.name,
            "first": train(Window(items, {}, logged[:first_end], {0: 0}, {0: first_end}), settings, folder, None),
        }
        parent = load_checkpoint(folder, folder.ids()[0])
        since = next(iter(parent.manifest.log.values())).end
        lookback = max(0, since - settings.training.lookback_engagements)
        window = Window(items, {}, logged[lookback:], {0: since}, {0: len(logged)})
        report["second"] = train(window, settings, folder, parent)
        report["decoding"] = decoding(load_checkpoint(folder, folder.ids()[-1]), list(items.values()))
    print(json.dumps(report) if asked.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
