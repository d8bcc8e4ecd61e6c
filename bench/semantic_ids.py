"""Semantic IDs compared: `python -m bench.semantic_ids DIR… [--encoders static,minilm] [--json OUT]`.

Each DIR is a recorded stream. Content and behaviour up to half of the engagements train; all later ones judge:
- unique: the share of items whose codes no other item has; distinct: different IDs divided by items;
- prefix recall@10: of all pairs of successive items of a user in the second half, is the later among the 10 items that
  share the longest prefix of codes with the earlier (expected value over random order within equal prefixes). Mean over
  three fits of the levels; its standard error (users drawn at random); `gain`: the paired difference to residual
  k-means on content, with its error; `known` and `new`: pairs whose later item was uploaded before training, and after;
- first code ratio: how many times more often those two share their first code than two random items do; lift: than
  the items of two random engagements do;
- cold hit@10: an item's first engagement in the second half, ranked among all live items that are untouched too, by
  content (how near they are to the user's last 20 items: by the version's standardised content, by the words of the
  card, and half as much by the aligned block) and codes (a tenth of how much more often than by chance, as a logarithm,
  the training part goes from those items' first codes to theirs). Beside it, on the same events:
  chance, similarity of titles (TF-IDF, 128 dimensions), and TF-IDF mapped by ridge regression into co-occurrence;
- training: CPU and wall seconds; assign: fused rows a second of CPU time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.cold_items import cold_events, cold_hits, cooccurrence_ridge, nearness, tfidf, through_codes
from bench.recorded_stream import Stream, read_stream
from store.settings import Settings, load_settings
from trainer.content.encoders import content_parts, text_encoder
from trainer.content.passages import text_of
from trainer.semantic_ids.alignment import pairs_of
from trainer.semantic_ids.cards import plain_card
from trainer.semantic_ids.codebook import zero_codebook
from trainer.semantic_ids.residual_kmeans import fit_levels
from trainer.semantic_ids.training import Method, churn, train_codebook
from trainer.semantic_ids.word_map import WORDS, buckets_of, rarity, weighted

METHODS: tuple[Method, ...] = ("kmeans", "rqvae", "aligned")


FITS = 3
"""Fits of the levels that prefix recall is averaged over: another seed moves it by several percent."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Successive different items of a user, the later one in the judged part."""

    user_P: np.ndarray
    earlier_P: np.ndarray
    later_P: np.ndarray


def judged_pairs(stream: Stream) -> Judged:
    """All of them."""
    last: dict[int, int] = {}
    found = []
    for place, (user, item) in enumerate(zip(stream.user_E.tolist(), stream.item_E.tolist(), strict=True)):
        if place >= stream.half and last.get(user, item) != item:
            found.append((user, last[user], item))
        last[user] = item
    return Judged(*np.array(found).T)


def prefix_recall(codes_NL: np.ndarray, earlier_P: np.ndarray, later_P: np.ndarray, k: int = 10) -> np.ndarray:
    """Expected recall@k of each pair when items are ordered by the length of their common prefix, at random within one
    length."""
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
    return chance_P


def error_of(value_P: np.ndarray, user_P: np.ndarray) -> float:
    """Standard error of the mean of `value_P` when users, not pairs, are drawn at random."""
    off_U = np.bincount(user_P, value_P - value_P.mean())
    return float(np.sqrt(np.square(off_U).sum()) / len(value_P))


def first_code_ratios(codes_NL: np.ndarray, earlier_P: np.ndarray, later_P: np.ndarray) -> tuple[float, float]:
    """How many times more often successive items of a user share their first code than random items, and than random
    engagements (of which popular items have more)."""
    code_P, next_P = codes_NL[earlier_P, 0], codes_NL[later_P, 0]
    same = (code_P == next_P).mean()
    items = np.square(np.bincount(codes_NL[:, 0]) / len(codes_NL)).sum()
    engagements = (code_P == np.random.default_rng(0).permutation(next_P)).mean()
    return float(same / items), float(same / max(engagements, 1e-9))


def encoded(stream: Stream, encoder: str, cache: Path | None) -> list[dict[str, np.ndarray]]:
    """What codebooks look at of all uploads; text vectors are read from `cache` where an earlier run has left them."""
    words = [{WORDS: buckets_of(plain_card(upload, {}, 0))} for upload in stream.uploads]
    return [{**part, **said} for part, said in zip(_vectors(stream, encoder, cache), words, strict=True)]


def _vectors(stream: Stream, encoder: str, cache: Path | None) -> list[dict[str, np.ndarray]]:
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
    pairs = judged_pairs(stream)
    new_P = stream.uploaded_at_N[pairs.later_P] > stream.at_E[stream.half]
    events = cold_events(stream)
    trained = pairs_of(stream.sequences())
    known, sequences = _by(stream, stream.half)
    words_NV = weighted(parts, rarity(parts))
    rows: list[dict[str, object]] = []
    content_P = np.zeros(0)

    def add(method: str, fits: list[np.ndarray], x_ND: np.ndarray | None, more: dict[str, object]) -> np.ndarray:
        codes_NL = fits[0]
        recall_P = np.mean([prefix_recall(codes, pairs.earlier_P, pairs.later_P) for codes in fits], axis=0)
        ratios = first_code_ratios(codes_NL, pairs.earlier_P, pairs.later_P)
        hits = None if x_ND is None else cold_hits(events, through_codes(codes_NL, trained, x_ND, words_NV))
        row: dict[str, object] = {
            "stream": stream.name,
            "encoder": encoder,
            "method": method,
            "unique": float((np.unique(codes_NL, axis=0, return_counts=True)[1] == 1).sum() / len(codes_NL)),
            "distinct": len(np.unique(codes_NL, axis=0)) / len(codes_NL),
            "prefix_recall@10": float(recall_P.mean()),
            "recall_error": error_of(recall_P, pairs.user_P),
            "recall_known": float(recall_P[~new_P].mean()),
            "recall_new": float(recall_P[new_P].mean()),
            "pairs": len(recall_P),
            "first_code_ratio": ratios[0],
            "first_code_lift": ratios[1],
            "cold_hit@10": None if hits is None else float(hits.mean()),
            "cold_error": None if hits is None else float(hits.std() / np.sqrt(len(hits))),
            "cold_events": len(events),
            **more,
        }
        if len(content_P):
            row |= {"gain": float((recall_P - content_P).mean())}
            row |= {"gain_error": error_of(recall_P - content_P, pairs.user_P)}
        rows.append(row)
        return np.asarray(recall_P)

    zero = zero_codebook(settings)
    random = np.random.default_rng(0)
    add("random", [np.stack([random.integers(0, w, len(parts)) for w in zero.widths], axis=1)], None, {})
    x_ND = zero.fuse(parts)
    add("zero (LSH)", [zero.assign(x_ND)], x_ND, {})
    for method in METHODS:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        book = train_codebook([parts[index] for index in known], sequences, settings, method=method)
        spent = {"train_s": time.perf_counter() - wall_s, "train_cpu_s": time.process_time() - cpu_s}
        x_ND = book.fuse(parts)
        cpu_s = time.process_time()
        fits = [book.assign(x_ND)]
        spent["assign_per_cpu_s"] = len(x_ND) / (time.process_time() - cpu_s)
        for seed in range(1, FITS):
            stages = fit_levels(x_ND[known], book.widths, seed=seed)
            fits.append(replace(book, stages=stages).assign(x_ND))
        recall_P = add(method, fits, x_ND, {"widths": book.widths, **spent})
        content_P = recall_P if method == "kmeans" else content_P
    return rows


def _by(stream: Stream, place: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Items uploaded by an engagement, and users' sequences until then as indices into those."""
    known = np.flatnonzero(stream.uploaded_at_N <= stream.at_E[place])
    place_N = np.full(len(stream.uploads), -1)
    place_N[known] = np.arange(len(known))
    sequences = [place_N[items] for items in replace(stream, half_at=place).sequences()]
    return known, [items[items >= 0] for items in sequences]


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
        *("stream", "encoder", "method", "unique", "prefix_recall@10", "recall_error", "gain", "gain_error"),
        *("recall_known", "recall_new", "first_code_ratio", "cold_hit@10", "cold_error", "train_cpu_s", "train_s"),
        "assign_per_cpu_s",
    )
    table = Table(*columns)
    for row in rows:
        cells = [row.get(column) for column in columns]
        table.add_row(*("" if cell is None else _short(cell) for cell in cells))
    console.print(table)


def _short(cell: object) -> str:
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.4f}" if cell < 2 else f"{cell:.1f}" if cell < 1000 else f"{cell:,.0f}"


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
    console = Console(width=190)
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
