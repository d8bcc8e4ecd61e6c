"""Semantic IDs compared: `python -m bench.semantic_ids DIR… [--encoders static,minilm] [--json OUT]`.

Each DIR is a recorded stream. Behaviour up to half of the engagements trains; the rest judges:
- unique: the share of items whose codes no other item has; distinct: different IDs divided by items;
- prefix recall@10: of two successive items of a user in the second half, is the later among the 10 items that share the
  longest prefix of codes with the earlier (expected value over random order within equal prefixes);
- first code ratio: how many times more often those two share their first code than two random items do; lift: than
  the items of two random engagements do;
- cold hit@10: an item's first engagement in the second half, ranked among all live items that are untouched too, by
  content (how near they are to the user's last 20 items, in the version's standardised content and in the space that
  its codes quantise) and codes (how much more often than by chance the training part goes from those items' first codes
  to theirs). Beside it, on the same events:
  chance, similarity of titles (TF-IDF, 128 dimensions), and TF-IDF mapped by ridge regression into co-occurrence.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.cold_items import ColdEvent, cold_events, cold_hits, cooccurrence_ridge, nearness, tfidf, through_codes
from bench.recorded_stream import Stream, read_stream
from store.settings import Settings, load_settings
from trainer.alignment import pairs_of
from trainer.codebook import zero_codebook
from trainer.codebook_training import churn, train_codebook
from trainer.content import content_parts, text_encoder, text_of


def judged_pairs(stream: Stream, most: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Successive different items of a user, the later one in the judged part."""
    last: dict[int, int] = {}
    found = []
    for place, (user, item) in enumerate(zip(stream.user_E.tolist(), stream.item_E.tolist(), strict=True)):
        if place >= stream.half and last.get(user, item) != item:
            found.append((last[user], item))
        last[user] = item
    drawn = np.random.default_rng(seed).choice(len(found), min(most, len(found)), replace=False)
    pairs = np.array(found)[drawn]
    return pairs[:, 0], pairs[:, 1]


def prefix_recall(codes_NL: np.ndarray, earlier_P: np.ndarray, later_P: np.ndarray, k: int = 10) -> float:
    """Expected recall@k when items are ordered by the length of their common prefix, at random within one length."""
    chance_P = np.zeros(len(earlier_P))
    found_P = np.zeros(len(earlier_P), bool)
    nearer_P = np.zeros(len(earlier_P))
    for depth in range(codes_NL.shape[1], -1, -1):
        _, group_N = np.unique(codes_NL[:, :depth], axis=0, return_inverse=True)
        group_N = group_N.ravel()
        alike_P = np.bincount(group_N)[group_N[earlier_P]] - 1
        now_P = (group_N[earlier_P] == group_N[later_P]) & ~found_P
        chance_P[now_P] = np.clip((k - nearer_P[now_P]) / np.maximum(alike_P - nearer_P, 1)[now_P], 0, 1)
        found_P |= now_P
        nearer_P = alike_P
    return float(chance_P.mean())


def first_code_ratios(codes_NL: np.ndarray, earlier_P: np.ndarray, later_P: np.ndarray) -> tuple[float, float]:
    """How many times more often successive items of a user share their first code than random items, and than random
    engagements (of which popular items have more)."""
    code_P, next_P = codes_NL[earlier_P, 0], codes_NL[later_P, 0]
    same = (code_P == next_P).mean()
    items = np.square(np.bincount(codes_NL[:, 0]) / len(codes_NL)).sum()
    engagements = (code_P == np.random.default_rng(0).permutation(next_P)).mean()
    return float(same / items), float(same / max(engagements, 1e-9))


def encoded(stream: Stream, encoder: str, cache: Path | None) -> list[dict[str, np.ndarray]]:
    """Content parts of all uploads; text vectors are read from `cache` where an earlier run has left them."""
    if cache is None:
        return content_parts(stream.uploads, text_encoder(encoder))
    file = cache / f"{stream.name}.{encoder}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, text_encoder(encoder).encode([text_of(upload) for upload in stream.uploads]).astype(np.float16))
    return [{"text": row} for row in np.load(file)]


def judge(stream: Stream, encoder: str, settings: Settings, cache: Path | None = None) -> list[dict[str, object]]:
    """One row per method for one stream and text encoder."""
    parts = encoded(stream, encoder, cache)
    earlier_P, later_P = judged_pairs(stream)
    events = cold_events(stream)
    sequences = stream.sequences()
    pairs = pairs_of(sequences)
    rows = []

    def add(
        method: str,
        codes_NL: np.ndarray,
        score: Callable[[ColdEvent], np.ndarray] | None,
        seconds: float,
        assigned_per_s: float | None = None,
    ) -> None:
        ratios = first_code_ratios(codes_NL, earlier_P, later_P)
        hits = None if score is None else cold_hits(events, score)
        row = {
            "stream": stream.name,
            "encoder": encoder,
            "method": method,
            "unique": float((np.unique(codes_NL, axis=0, return_counts=True)[1] == 1).sum() / len(codes_NL)),
            "distinct": len(np.unique(codes_NL, axis=0)) / len(codes_NL),
            "prefix_recall@10": prefix_recall(codes_NL, earlier_P, later_P),
            "first_code_ratio": ratios[0],
            "first_code_lift": ratios[1],
            "cold_hit@10": None if hits is None else float(hits.mean()),
            "cold_error": None if hits is None else float(hits.std() / np.sqrt(len(hits))),
            "cold_events": len(events),
            "train_s": round(seconds, 1),
            "assign_per_s": assigned_per_s,
        }
        rows.append(row)

    widths = zero_codebook(settings).widths
    random = np.random.default_rng(0)
    add("random", np.stack([random.integers(0, w, len(parts)) for w in widths], axis=1), None, 0.0)
    zero = zero_codebook(settings)
    x_ND = zero.fuse(parts)
    codes_NL = zero.assign(x_ND)
    add("zero (LSH)", codes_NL, through_codes(codes_NL, pairs, x_ND), 0.0)
    for method in ("kmeans", "rqvae", "aligned"):
        start = time.perf_counter()
        book = train_codebook(parts, sequences, settings, method=method)
        spent_s = time.perf_counter() - start
        x_ND = book.fuse(parts)
        start = time.perf_counter()
        codes_NL = book.assign(x_ND)
        per_s = len(x_ND) / (time.perf_counter() - start)
        add(method, codes_NL, through_codes(codes_NL, pairs, x_ND), spent_s, per_s)
    return rows


def refresh_figures(stream: Stream, encoder: str, settings: Settings, cache: Path | None) -> dict[str, object]:
    """A version made at half of the engagements from the items uploaded by then, refreshed at three quarters."""
    parts = encoded(stream, encoder, cache)
    then, now = stream.half, stream.half * 3 // 2
    known = np.flatnonzero(stream.uploaded_at_N <= stream.at_E[then])
    place_N = np.full(len(parts), -1)
    place_N[known] = np.arange(len(known))
    before = [place_N[items][place_N[items] >= 0] for items in stream.sequences()]
    fresh = np.flatnonzero((stream.uploaded_at_N > stream.at_E[then]) & (stream.uploaded_at_N <= stream.at_E[now]))
    grown = [parts[index] for index in [*known, *fresh]]
    place_N[fresh] = len(known) + np.arange(len(fresh))
    after = [place_N[items][place_N[items] >= 0] for items in replace(stream, half_at=now).sequences()]
    old = train_codebook([parts[index] for index in known], before, settings)
    start = time.perf_counter()
    new = train_codebook(grown, after, settings, parent=old)
    spent_s = time.perf_counter() - start
    old_parts, fresh_parts = grown[: len(known)], grown[len(known) :]
    return {
        "stream": stream.name,
        "encoder": encoder,
        "items": len(known),
        "fresh": len(fresh),
        "churn_by_level": churn(old.assign_parts(old_parts), new.assign_parts(old_parts)),
        "error_fresh_before": float(old.quantization_error(old.fuse(fresh_parts)).mean()),
        "error_fresh_after": float(new.quantization_error(new.fuse(fresh_parts)).mean()),
        "refresh_s": round(spent_s, 1),
    }


def references(stream: Stream) -> list[dict[str, object]]:
    """Chance and the two simple references on the cold events."""
    events = cold_events(stream)
    title_ND = tfidf([text_of(upload) or upload.item_id for upload in stream.uploads])
    chance = float(np.mean([min(1.0, 10 / len(event.candidates)) for event in events]))
    rows: list[dict[str, object]] = [{"stream": stream.name, "method": "chance", "cold_hit@10": chance}]
    for method, x_ND in (("title similarity", title_ND), ("ridge", cooccurrence_ridge(stream, title_ND))):
        hits = cold_hits(events, nearness(x_ND))
        rows.append({"stream": stream.name, "method": method, "cold_hit@10": float(hits.mean())})
    return rows


def show(rows: Sequence[dict[str, object]], console: Console) -> None:
    """The rows as a table."""
    columns = (
        "stream",
        "encoder",
        "method",
        "unique",
        "distinct",
        "prefix_recall@10",
        "first_code_ratio",
        "cold_hit@10",
        "cold_error",
        "train_s",
    )
    table = Table(*columns)
    for row in rows:
        cells = [row.get(column) for column in columns]
        table.add_row(
            *("" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)
        )
    console.print(table)


def main() -> None:
    """Judges every stream with every encoder and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("streams", nargs="+", type=Path)
    parser.add_argument("--encoders", default="static,minilm")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--refresh", action="store_true", help="also train at one half and refresh at three quarters")
    parser.add_argument("--cache", type=Path, help="folder to keep text vectors in between runs (streams with text)")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    console = Console(width=150)
    for folder in options.streams:
        stream = read_stream(folder)
        found = references(stream)
        for encoder in options.encoders.split(","):
            found += judge(stream, encoder, load_settings(), options.cache)
        show(found, console)
        if options.refresh:
            for encoder in options.encoders.split(","):
                found.append(refresh_figures(stream, encoder, load_settings(), options.cache))
                console.print_json(json.dumps(found[-1]))
        rows += found
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
