"""The columns of a row of features, by group: groups can be taken away together, for ablations.

Invariant: a fitted ranker knows columns by place; their order is part of its format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CONVERSIONS = ("conversion_short", "conversion_long")
MODEL_RANKS = ("rank_model", "rank_model_score")

GROUPS: Mapping[str, tuple[str, ...]] = {
    "transitions": ("together", "follows", "after_last", "before_last", "after_second", "after_third"),
    "counts": ("counts",),
    "two_hops": ("two_hops",),
    "spectral": ("spectral_taste", "spectral_last", "spectral_max"),
    "vector": ("vector_taste", "vector_last", "vector_max", "expected_taste", "expected_last", "expected_max"),
    "content": (
        "content_spectral",
        "content_spectral_last",
        "content_spectral_max",
        "content_taste",
        "content_max",
        "content_last",
    ),
    "words": ("words", "words_last"),
    "counts_and_words": ("counts_and_words",),
    "query": ("query",),
    "model": ("model", "model_score", "model_codes"),
    "popularity": (*(f"heat_{n}" for n in range(7)), "positives", "trend_short", "trend_long"),
    "age": ("age", "since_first", "since_last"),
    "quality": ("value", "negative_share", *CONVERSIONS),
    "ranks": (
        "rank_together",
        "rank_follows",
        "rank_counts",
        "rank_two_hops",
        "rank_spectral_taste",
        "rank_vector_taste",
        "rank_words",
        "rank_counts_and_words",
        "rank_heat_1",
        "rank_heat_2",
        "rank_heat_4",
        *MODEL_RANKS,
    ),
    "repeats": ("repeats", "repeat_times", "repeat_gap"),
    "refused": ("refused_spectral", "refused_content"),
    "user": ("history", "user_gap", "user_heat", "user_age", "heat_difference", "age_difference"),
    "request": ("task", "country", "device", "hour", "weekday"),
}
NAMES: tuple[str, ...] = tuple(name for names in GROUPS.values() for name in names)
COLUMNS: Mapping[str, int] = {name: place for place, name in enumerate(NAMES)}

CONTENT_ALONE: tuple[str, ...] = (
    *GROUPS["content"],
    *GROUPS["words"],
    "expected_taste",
    "expected_last",
    "expected_max",
)
"""What is known of an item by its content, with or without any engagement: as it is, and by where behaviour is expected
to put it."""


def without(groups: Sequence[str]) -> list[int]:
    """Columns of the named groups and the ranks by them: what an ablation blanks."""
    names = {name for group in groups for name in GROUPS[group]}
    return sorted(COLUMNS[name] for name in NAMES if name in names or name.removeprefix("rank_") in names)
