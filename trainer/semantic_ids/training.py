"""Training a codebook version from content and behaviour, from scratch or from the version that serves.

Methods: `kmeans` (content alone), `rqvae` (content alone, encoder and codes trained in torch), `aligned` (with
behaviour: what the system uses as soon as there is some). Whatever the method, an item's IDs need its content only.

From a parent of the same shape a version is a refresh: its maps stay, and codes stay where they are, except those that
few items have, which move to where items are served worst. So most items keep all of their codes. (Tuning the aligned
map along as well moved every row a little, and with it more than half of the last codes.) What needs new maps, such as
tastes that have changed or a modality that is new, needs `anew`.

Invariant: equal parts, sequences, settings, parent and seed give the same version on one machine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from store.settings import Settings
from trainer.content.exact_sums import on_grid, product, unit_on_grid
from trainer.content.vectors import NO_CONTENT, stack_parts
from trainer.semantic_ids.alignment import ALIGNED, Pairs, pairs_of
from trainer.semantic_ids.codebook import Codebook, Level, ModalityMap, random_map, widths_for, widths_of
from trainer.semantic_ids.residual_kmeans import Progress, fit_levels, refit_levels, useful_width
from trainer.semantic_ids.rqvae import BATCH, QuantisedEncoder, Standardised, train_encoder
from trainer.semantic_ids.word_map import WORDS, WordMap, rarity, weighted

Method = Literal["kmeans", "rqvae", "aligned"]
CONTENT = 128
"""Dimensions of the content block."""
SHARE = 0.9
"""How much of a fused row's squared length is aligned with behaviour: found by `bench.semantic_ids`."""
_SHARE_ALONE = 0.64
"""The same for an encoder that has no behaviour to be aligned with."""
_FEWEST_ITEMS = 64
"""A modality that fewer items have is projected at random: too few to learn its shape from."""
_MOST_ROWS = 40_000
"""Rows that the levels are fitted to; of a larger catalogue a sample."""
_FEWEST_PAIRS = 500
_MOST_STEPS = 1200


def train_codebook(
    parts: Sequence[Mapping[str, np.ndarray]],
    sequences: Sequence[np.ndarray | Sequence[int]],
    settings: Settings,
    *,
    method: Method = "aligned",
    parent: Codebook | None = None,
    seed: int = 0,
    anew: bool = False,
    progress: Progress | None = None,
) -> Codebook:
    """A new version. `parts[i]` is the content of item i; `sequences` are users' items in order, as such indices.
    `anew`: numbered after `parent`, but trained from scratch (all IDs change).

    With too little behaviour to align with, `aligned` falls back to `kmeans` and `about["method"]` says so.
    """
    started = time.perf_counter()
    pairs = pairs_of(sequences) if method == "aligned" else pairs_of([])
    if method == "aligned" and len(pairs) < _FEWEST_PAIRS:
        method = "kmeans"
    most = widths_of(settings)
    base = parent if parent is not None and not anew and _refreshable(parent, most, method) else None
    if base is None:
        maps, words = _maps(parts, pairs, widths_for(settings, len(parts)), method, seed, progress)
    else:
        maps, words = dict(base.maps), base.words
    draft = Codebook("", (_nothing(maps),), MappingProxyType(maps), words, seed)
    x_ND = draft.fuse(parts)
    x_ND = x_ND[x_ND.any(axis=1)]
    judged_N = _judged(len(x_ND))
    fitted_ND = _sample(x_ND[~judged_N], seed)
    if base:
        stages = refit_levels(fitted_ND, base.stages, seed=seed, progress=progress)
    else:
        stages = fit_levels(fitted_ND, _widths(fitted_ND, settings, seed), seed=seed, progress=progress)
    version = f"codebook-{(parent.sequence if parent else 0) + 1:06d}-{_digest(maps, words, stages)}"
    book = replace(draft, version=version, stages=stages)
    about = {
        "method": method,
        "parent": parent.version if parent else None,
        "refreshed": base is not None,
        "items": len(parts),
        "most": list(most),
        "pairs": len(pairs),
        "unmapped": _unmapped(parts, book),
        "churn": _churn(parent, book, parts),
        "quantization_error": float(book.quantization_error(x_ND[judged_N]).mean()) if judged_N.any() else 0.0,
        "seconds": round(time.perf_counter() - started, 2),
        "trained_at": time.time(),
    }
    return replace(book, about=MappingProxyType(about))


def _unmapped(parts: Sequence[Mapping[str, np.ndarray]], book: Codebook) -> list[str]:
    """Modalities that enough items have to learn from, and that this version passes over: it was refreshed from one
    made before they came. Only a version trained `anew` can know them."""
    counts: dict[str, int] = {}
    for part in parts:
        for name, vector in part.items():
            if name != WORDS and not book.knows(name, len(vector)):
                counts[name] = counts.get(name, 0) + 1
    return sorted(name for name, count in counts.items() if count >= _FEWEST_ITEMS)


def _churn(parent: Codebook | None, book: Codebook, parts: Sequence[Mapping[str, np.ndarray]]) -> list[float]:
    """What this version changes of the parent's IDs, by level; empty where there is nothing to compare."""
    if parent is None or parent.levels != book.levels:
        return []
    return churn(parent.assign_parts(parts), book.assign_parts(parts))


def _judged(items: int) -> np.ndarray:
    """Every sixteenth item is left out of the levels: the error that fresh ones are compared with has to be that of
    items the codes were not fitted to. Among few items every one is needed, and none is left out."""
    judged_N: np.ndarray = (np.arange(items) % 16 == 7) & (items >= 500)
    return judged_N


def _sample(x_ND: np.ndarray, seed: int) -> np.ndarray:
    if len(x_ND) <= _MOST_ROWS:
        return x_ND
    random = np.random.Generator(np.random.PCG64(seed))
    return x_ND[np.sort(random.choice(len(x_ND), _MOST_ROWS, replace=False))]


def churn(old_NL: np.ndarray, new_NL: np.ndarray) -> list[float]:
    """Per level, the share of items whose codes up to that level are no longer the same."""
    levels = min(old_NL.shape[1], new_NL.shape[1])
    if not len(old_NL):
        return [0.0] * levels
    differs_NL = np.logical_or.accumulate(old_NL[:, :levels] != new_NL[:, :levels], axis=1)
    return [float(share) for share in differs_NL.mean(axis=0)]


def _widths(x_ND: np.ndarray, settings: Settings, seed: int) -> tuple[int, ...]:
    """Codes per level that these rows have use for. Equal ones count once."""
    items = len({row.tobytes() for row in x_ND})
    return widths_for(settings, items, useful_width(x_ND, widths_for(settings, items)[0], seed=seed))


def _refreshable(parent: Codebook, most: tuple[int, ...], method: Method) -> bool:
    """Whether a version made by `method` can start from `parent`: learned, under equal settings, of the same kind."""
    aligned = any(mapped.linear_CA is not None for mapped in parent.maps.values())
    return bool(parent.maps) and (*parent.about.get("most", parent.widths),) == most and aligned == (method != "kmeans")


def _maps(
    parts: Sequence[Mapping[str, np.ndarray]],
    pairs: Pairs,
    widths: Sequence[int],
    method: Method,
    seed: int,
    progress: Progress | None,
) -> tuple[dict[str, ModalityMap], WordMap | None]:
    content = _content_maps(parts, seed)
    return (content, None) if method == "kmeans" else _aligned(content, parts, widths, pairs, seed, progress)


def _content_maps(parts: Sequence[Mapping[str, np.ndarray]], seed: int) -> dict[str, ModalityMap]:
    """Per modality: mean and a half-whitened principal projection."""
    kinds: dict[str, dict[int, int]] = {}
    for part in parts:
        for name, vector in part.items():
            if name == WORDS:
                continue
            counts = kinds.setdefault(name, {})
            counts[len(vector)] = counts.get(len(vector), 0) + 1
    maps = {}
    for name, counts in sorted(kinds.items()):
        width = max(counts, key=lambda width: (counts[width], width))
        if name == NO_CONTENT or counts[width] < _FEWEST_ITEMS:
            maps[name] = random_map(name, width, CONTENT, seed)
        else:
            maps[name] = _principal(stack_parts(parts, name, width)[1])
    return maps


def _principal(x_MI: np.ndarray) -> ModalityMap:
    """Standardises a modality. Half-whitened: a direction counts by the root of its spread, so that the few strongest
    do not drown the rest, nor noise the few."""
    mean_I = on_grid(x_MI.mean(axis=0))
    centred_MI = x_MI - mean_I
    spread_I, vectors_II = np.linalg.eigh(centred_MI.T @ centred_MI / len(x_MI))
    keep = np.argsort(-spread_I, kind="stable")[:CONTENT]
    scale_C = np.maximum(spread_I[keep], 1e-9 * spread_I.max() + 1e-12) ** -0.25
    scale_C *= np.sqrt(CONTENT) / np.sqrt(np.square(scale_C).sum())
    content_IC = np.zeros((x_MI.shape[1], CONTENT))
    content_IC[:, : len(keep)] = vectors_II[:, keep] * np.where(spread_I[keep] > 1e-9, scale_C, 0.0)
    return ModalityMap(mean_I, on_grid(content_IC))


def _aligned(
    content: Mapping[str, ModalityMap],
    parts: Sequence[Mapping[str, np.ndarray]],
    widths: Sequence[int],
    pairs: Pairs,
    seed: int,
    progress: Progress | None,
) -> tuple[dict[str, ModalityMap], WordMap | None]:
    """The maps with their aligned blocks, and the map of words, trained."""
    modalities = {}
    for name, mapped in content.items():
        rows_M, x_MI = stack_parts(parts, name, len(mapped.mean_I))
        p_MC = unit_on_grid(product(on_grid(x_MI) - mapped.mean_I, mapped.content_IC))
        modalities[name] = Standardised(rows_M, p_MC, mapped.weight)
    rarity_V = rarity(parts)
    worded = len(pairs) > 0 and sum(len(part.get(WORDS, ())) > 0 for part in parts) >= _FEWEST_ITEMS
    steps = int(np.clip(8 * (len(pairs) or len(parts)) // BATCH, 200, _MOST_STEPS))
    model = train_encoder(
        modalities,
        len(parts),
        widths,
        pairs,
        share=SHARE if len(pairs) else _SHARE_ALONE,
        steps=steps,
        seed=seed,
        words=weighted(parts, rarity_V) if worded else None,
        progress=progress,
    )
    maps = {name: _learned(mapped, model, name) for name, mapped in content.items()}
    if model.words is None:
        return maps, None
    known_V1 = (rarity_V > 0)[:, None]
    return maps, WordMap(rarity_V, on_grid(model.words.detach().numpy() * known_V1))


def _learned(mapped: ModalityMap, model: QuantisedEncoder, name: str) -> ModalityMap:
    state = {key: on_grid(value.detach().numpy().T) for key, value in model.maps[name].state_dict().items()}
    return replace(
        mapped,
        linear_CA=state["linear.weight"],
        hidden_CH=state["hidden.weight"],
        bias_H=state["hidden.bias"],
        out_HA=state["out.weight"],
        share=model.share,
    )


def _nothing(maps: Mapping[str, ModalityMap]) -> Level:
    """A stand-in level of the right width, for fusing before the levels are fitted."""
    aligned = any(mapped.linear_CA is not None for mapped in maps.values())
    point_1D = np.zeros((1, CONTENT + (ALIGNED if aligned else 0)))
    return Level(point_1D, np.zeros(1), point_1D)


def _digest(maps: Mapping[str, ModalityMap], words: WordMap | None, stages: Sequence[Level]) -> str:
    """What tells versions of one number apart: a hash of all that assignment depends on."""
    digest = hashlib.blake2b(digest_size=4)
    for name, mapped in sorted(maps.items()):
        digest.update(f"{name}:{mapped.share}:{mapped.weight}".encode())
        for array in mapped.arrays().values():
            digest.update(np.ascontiguousarray(array).tobytes())
    for array in () if words is None else (words.rarity_V, words.meaning_VA):
        digest.update(array.tobytes())
    for stage in stages:
        for array in (stage.seeds_WV, stage.price_W, stage.points_WD):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
