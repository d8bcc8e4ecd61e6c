"""The report of a replay (docs/contracts.md): quality by slice, baselines, sources, cost, as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log2, sqrt
from typing import Any

import msgspec

from store.settings import Settings
from trainer.evaluation.baselines import with_best_knn
from trainer.evaluation.cold_evaluation import FRESH_BELOW, RankWithinKind
from trainer.evaluation.model_report import model_report
from trainer.evaluation.prequential import EvaluatedEngagement, ReplayOptions, ReplayResult

DAY_S = 86_400.0
REPLAYED_TABLES = ("events", "store", "content", "codebook", "serving")
"""Tables of the settings that decide what a replay measures."""


def report(
    stream: str, result: ReplayResult, options: ReplayOptions, settings: Settings = Settings()
) -> dict[str, Any]:
    """The report as plain JSON."""
    ranks = with_best_knn([one.baselines for one in result.evaluated], options.k)
    evaluated = [replace(one, baselines=known) for one, known in zip(result.evaluated, ranks, strict=True)]
    positives = [one.positives for one in evaluated]
    told = model_report(result.model, [one.rank for one in evaluated], positives, options.k)
    names = list(evaluated[0].baselines) if evaluated else []
    slices = {
        "cold": [one for one in evaluated if one.positives == 0],
        "fresh": [one for one in evaluated if one.positives < FRESH_BELOW],
        "younger_than_day": [one for one in evaluated if one.age_s < DAY_S],
        "younger_than_week": [one for one in evaluated if one.age_s < 7 * DAY_S],
    }
    ours = {name: measure([one.rank for one in some], options.k) for name, some in slices.items()}
    ours["cold"]["within"] = within([one for one in result.within if one.cold], options.k)
    ours["fresh"]["within"] = within([one for one in result.within if not one.cold], options.k)
    found = {
        "stream": stream,
        "k": options.k,
        "seed": options.seed,
        "evaluated": len(evaluated),
        "overall": measure([one.rank for one in evaluated], options.k),
        **ours,
        "candidates": {
            "recall": mean([float(one.rank >= 0) for one in evaluated]),
            "fresh_recall": mean([float(one.rank >= 0) for one in slices["fresh"]]),
            "size": mean([float(one.candidates) for one in evaluated]),
        },
        "baselines": {
            name: {
                "overall": measure([one.baselines[name] for one in evaluated], options.k),
                **{part: measure([one.baselines[name] for one in some], options.k) for part, some in slices.items()},
            }
            for name in names
        },
        "sources": sources(evaluated, options.k),
        "source_recall": source_recall(evaluated),
        "ablations": result.ablations,
        **({"model": told} if told else {}),
        "over_time": over_time(evaluated, options.k),
        "cost": {name: round(seconds, 1) for name, seconds in result.cost.items()},
        "settings": settings_of(options, settings),
    }
    return {**found, "headline": headline(found)}


def headline(found: Mapping[str, Any]) -> list[str]:
    """What a report says, in sentences: against the better baseline, on fresh items, on cold ones among their kind."""
    measured, lines = f"hr@{found['k']}", []
    for part in ("overall", "fresh"):
        baselines = {name: each[part][measured] for name, each in found["baselines"].items()}
        best = max(baselines, key=lambda name: baselines[name] or 0.0, default=None)
        ours = found[part][measured]
        if best is not None and ours is not None:
            times = f" = {ours / baselines[best]:.2f} ×" if baselines[best] else ""
            lines.append(
                f"{part}: {measured} {ours:.3f} against {baselines[best]:.3f} of {best}, the better one{times}"
            )
    cold, chance = found["cold"]["within"], f"chance@{found['k']}"
    if cold[chance]:
        times = f"{cold[measured] / cold[chance]:.1f} × chance ({cold[measured]:.3f} / {cold[chance]:.3f})"
        lines.append(f"cold items among {cold['candidates']:.0f} as untouched: {times}, {cold['evaluated']} of them")
    candidates = found["candidates"]
    if candidates["recall"] is not None:
        lines.append(f"candidates: {candidates['recall']:.2f} of the true items are among {candidates['size']:.0f}")
    return lines


def measure(ranks: Sequence[int], k: int) -> dict[str, Any]:
    """Hit ratio and NDCG at k and 50, with 95 % confidence intervals (Wilson for the hits)."""
    count = len(ranks)
    found: dict[str, Any] = {"evaluated": count}
    for depth in sorted({k, 50}):
        hits = sum(0 <= rank < depth for rank in ranks)
        found[f"hr@{depth}"] = hits / count if count else None
        found[f"hr@{depth}_interval"] = wilson(hits, count)
        found[f"ndcg@{depth}"] = mean([1.0 / log2(2 + rank) if 0 <= rank < depth else 0.0 for rank in ranks])
    return found


def within(some: Sequence[RankWithinKind], k: int) -> dict[str, Any]:
    """Hits among candidates that are of its kind, beside what chance gives."""
    hits = sum(one.rank < k for one in some)
    return {
        "evaluated": len(some),
        f"hr@{k}": hits / len(some) if some else None,
        f"hr@{k}_interval": wilson(hits, len(some)),
        f"chance@{k}": mean([min(1.0, k / one.candidates) for one in some]),
        "candidates": mean([float(one.candidates) for one in some]),
    }


def wilson(hits: int, count: int, z: float = 1.96) -> list[float] | None:
    """The Wilson score interval of a share."""
    if not count:
        return None
    share, square = hits / count, z * z / count
    middle = (share + square / 2) / (1 + square)
    half = z * sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return [middle - half, middle + half]


def mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def sources(evaluated: Sequence[EvaluatedEngagement], k: int) -> dict[str, float]:
    """Each source's share of the hits (the source that ranked the item highest)."""
    hits = Counter(one.source for one in evaluated if 0 <= one.rank < k)
    return {name: count / hits.total() for name, count in hits.most_common()}


def source_recall(evaluated: Sequence[EvaluatedEngagement]) -> dict[str, float]:
    """The share of the true items that each source has on its list; they overlap."""
    found = Counter(name for one in evaluated for name in one.proposers)
    return {name: count / len(evaluated) for name, count in found.most_common()}


def over_time(evaluated: Sequence[EvaluatedEngagement], k: int, parts: int = 20) -> list[dict[str, Any]]:
    """Quality in equal parts of the evaluated engagements."""
    size = max(1, len(evaluated) // parts)
    pieces = [evaluated[start : start + size] for start in range(0, len(evaluated), size)]
    return [
        {
            "from": piece[0].at,
            "to": piece[-1].at,
            **measure([one.rank for one in piece], k),
            "recall": mean([float(one.rank >= 0) for one in piece]),
            "baselines": {
                name: measure([one.baselines[name] for one in piece], k)[f"hr@{k}"] for name in piece[0].baselines
            },
        }
        for piece in pieces
    ]


def settings_of(options: ReplayOptions, settings: Settings) -> dict[str, Any]:
    """The options, and the settings that a replay depends on, as plain JSON. Nothing of how Kafka is reached."""
    tables = {name: getattr(settings, name) for name in REPLAYED_TABLES}
    built = msgspec.json.decode(msgspec.json.encode({**msgspec.to_builtins(options), **tables}))
    assert isinstance(built, dict)
    return {**built, "kafka": {"partitions": settings.kafka.partitions}}
