"""Features: what the ranker sees of each candidate, one float32 row of a fixed set of columns.

Groups name columns that can be taken away together, for ablations.

Invariant: a feature depends only on what was known before the engagement that it helps to predict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from store.keys import hash64
from store.requests import Request, Task
from trainer.items.catalog import CONVERSION_HALF_LIVES, NEVER
from trainer.items.log_days import NEVER_LOG_DAYS, log_days
from trainer.retrieval.candidates import Evidence, Taste

TASKS: tuple[Task, ...] = ("home", "next", "similar", "search", "notification")

FAINT = 2.0**-16
"""What a transition share is measured from: log2 of it stands for none."""

FLOOR = -40.0
"""log2 of a popularity that is none."""

LABELS = 1024
"""Countries and devices are known by a hash below this, which float16 holds exactly."""

CONVERSIONS = ("conversion_short", "conversion_long")

DOUBTED_IMPRESSIONS = 20.0
"""Against so many impressions one engagement is what is expected of an item before anything is known."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "transitions": ("together", "follows", "after_last", "before_last", "after_second", "after_third"),
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
    "query": ("query",),
    "model": ("model",),
    "popularity": (*(f"heat_{n}" for n in range(7)), "positives", "trend_short", "trend_long"),
    "age": ("age", "since_first", "since_last"),
    "quality": ("value", "negative_share", *CONVERSIONS),
    "ranks": (
        "rank_together",
        "rank_follows",
        "rank_two_hops",
        "rank_spectral_taste",
        "rank_vector_taste",
        "rank_heat_1",
        "rank_heat_2",
        "rank_heat_4",
    ),
    "repeats": ("repeats", "repeat_times", "repeat_gap"),
    "refused": ("refused_spectral", "refused_content"),
    "user": ("history", "user_gap", "user_heat", "user_age", "heat_difference", "age_difference"),
    "request": ("task", "country", "device", "hour", "weekday"),
}
NAMES: tuple[str, ...] = tuple(name for names in GROUPS.values() for name in names)
COLUMNS: Mapping[str, int] = {name: place for place, name in enumerate(NAMES)}


def compute(
    evidence: Evidence,
    handles_B: np.ndarray,
    now_s: float,
    request: Request,
    model_B: np.ndarray | None,
    among_A: np.ndarray | None = None,
) -> np.ndarray:
    """Features of the items (B × F). Their ranks are places among all candidates of the request, `among_A`, where
    these are only some of them or none of them."""
    catalog, taste = evidence.catalog, evidence.taste
    x_BF = np.zeros((len(handles_B), len(NAMES)), np.float32)

    def put(name: str, values: np.ndarray | float) -> None:
        x_BF[:, COLUMNS[name]] = values

    for group in ("transitions", "two_hops", "query"):
        for name in GROUPS[group]:
            dense_B = evidence.dense[name][handles_B]
            put(name, dense_B if group == "query" else np.log2(FAINT + dense_B))
    _put_vectors(put, evidence, handles_B)
    _put_repeats(put, evidence, handles_B, now_s)
    _put_refused(put, evidence, handles_B)
    put("model", np.nan if model_B is None else model_B)
    heat_BW = _heat(evidence, handles_B, now_s)
    for window in range(heat_BW.shape[1]):
        put(f"heat_{window}", heat_BW[:, window])
    put("positives", np.log1p(catalog.positives_N[handles_B]))
    put("trend_short", heat_BW[:, 1] - heat_BW[:, 3])
    put("trend_long", heat_BW[:, 3] - heat_BW[:, 5])
    age_B = log_days(now_s - catalog.uploaded_at_N[handles_B])
    put("age", age_B)
    touched_B = catalog.positives_N[handles_B] > 0
    put("since_first", np.where(touched_B, log_days(now_s - catalog.first_at_N[handles_B]), -1.0))
    put("since_last", np.where(touched_B, log_days(now_s - catalog.last_at_N[handles_B]), NEVER_LOG_DAYS))
    put("value", catalog.value_N[handles_B])
    negatives_B = catalog.negatives_N[handles_B]
    put("negative_share", negatives_B / np.maximum(1.0, negatives_B + catalog.positives_N[handles_B]))
    _put_conversion(put, evidence, handles_B, heat_BW, now_s)
    for name in GROUPS["ranks"]:
        score_B = x_BF[:, COLUMNS[name.removeprefix("rank_")]]
        score_A = score_B if among_A is None else _ranked(name, evidence, among_A, now_s)
        put(name, _ranks(score_B, score_A))
    _put_user(put, evidence, taste, heat_BW, age_B, now_s)
    for name, value in _of_request(request, now_s).items():
        put(name, value)
    return x_BF


def _of_request(request: Request, now_s: float) -> dict[str, float]:
    """What the request itself says, the same for every candidate; NaN where it says nothing. The hour of the day and
    the weekday (0 is Monday) are in UTC: a country's own clock is a shift of it, which a tree can learn."""
    days, in_day_s = divmod(now_s, 86_400.0)
    return {
        "task": float(TASKS.index(request.task)),
        "country": _label(request.country),
        "device": _label(request.device),
        "hour": in_day_s / 3600.0,
        "weekday": (days + 3.0) % 7.0,
    }


def _label(text: str | None) -> float:
    return float(hash64(text.strip().casefold()) % LABELS) if text and text.strip() else float("nan")


def _put_vectors(put: object, evidence: Evidence, handles_B: np.ndarray) -> None:
    assert callable(put)
    near_L = evidence.taste.handles_L[: evidence.rules.near]
    for name in ("spectral_taste", "spectral_last", "vector_taste", "vector_last", "content_spectral", "content_taste"):
        put(name, evidence.dense[name][handles_B])
    if not len(near_L):
        return
    x_ND, c_NC = evidence.spectral.x_ND, evidence.catalog.content_NC
    put("spectral_max", (x_ND[handles_B] @ x_ND[near_L].T).max(axis=1))
    mapped_BL = evidence.spectral.content_ND[handles_B] @ x_ND[near_L].T
    put("content_spectral_max", mapped_BL.max(axis=1))
    put("content_spectral_last", mapped_BL[:, 0])
    vectors_ND, expected_BD = evidence.published.x_ND, evidence.published.expected_ND[handles_B]
    put("vector_max", (vectors_ND[handles_B] @ vectors_ND[near_L].T).max(axis=1))
    put("expected_taste", expected_BD @ evidence.vector_D)
    expected_BL = expected_BD @ vectors_ND[near_L].T
    put("expected_max", expected_BL.max(axis=1))
    put("expected_last", expected_BL[:, 0])
    content_BL = c_NC[handles_B] @ c_NC[near_L].T
    put("content_max", content_BL.max(axis=1))
    put("content_last", content_BL[:, 0])


def _put_conversion(put: object, evidence: Evidence, handles_B: np.ndarray, heat_BW: np.ndarray, now_s: float) -> None:
    """log2 of popularity over impressions, both with the same half-life; NaN where the stream told of no impression."""
    assert callable(put)
    catalog = evidence.catalog
    for column, (name, window) in enumerate(zip(CONVERSIONS, CONVERSION_HALF_LIVES, strict=True)):
        shown_B = catalog.shown_NV[handles_B, column]
        seen_B = np.exp2(np.maximum(shown_B - now_s / catalog.half_lives_s_W[window], FLOOR))
        ratio_B = np.log2((np.exp2(heat_BW[:, window]) + 1.0) / (seen_B + DOUBTED_IMPRESSIONS))
        put(name, np.where(shown_B > NEVER, ratio_B, np.nan))


def _put_repeats(put: object, evidence: Evidence, handles_B: np.ndarray, now_s: float) -> None:
    """How often the user had it, and how long ago."""
    assert callable(put)
    times_B, gap_B = evidence.taste.repeats.of(handles_B, now_s)
    put("repeats", np.log2(FAINT + evidence.dense["repeats"][handles_B]))
    put("repeat_times", np.log1p(times_B))
    put("repeat_gap", gap_B)


def _put_refused(put: object, evidence: Evidence, handles_B: np.ndarray) -> None:
    """How like it is to the likest of what the user turned away; NaN for who turned nothing away."""
    assert callable(put)
    refused_R = evidence.taste.refused_R
    refused_R = refused_R[refused_R < evidence.size]
    for name, x_ND in (("refused_spectral", evidence.spectral.x_ND), ("refused_content", evidence.catalog.content_NC)):
        put(name, (x_ND[handles_B] @ x_ND[refused_R].T).max(axis=1) if len(refused_R) else np.nan)


def _put_user(
    put: object, evidence: Evidence, taste: Taste, heat_BW: np.ndarray, age_B: np.ndarray, now_s: float
) -> None:
    assert callable(put)
    put("history", np.log1p(taste.count))
    put("user_gap", log_days(np.array(now_s - taste.last_at)) if taste.count else NEVER_LOG_DAYS)
    recent_L = taste.handles_L[:10]
    if len(recent_L):
        user_heat = float(_heat(evidence, recent_L, now_s)[:, 4].mean())
        ages_L = taste.times_L[:10] - evidence.catalog.uploaded_at_N[recent_L]
        user_age = float(log_days(ages_L).mean())
    else:
        user_heat, user_age = FLOOR, -1.0
    put("user_heat", user_heat)
    put("user_age", user_age)
    put("heat_difference", heat_BW[:, 4] - user_heat)
    put("age_difference", age_B - user_age)


def _heat(evidence: Evidence, handles_B: np.ndarray, now_s: float, window: int | None = None) -> np.ndarray:
    catalog = evidence.catalog
    windows = slice(None) if window is None else window
    heat_B = catalog.heat_NW[handles_B, windows] - now_s / catalog.half_lives_s_W[windows]
    return np.asarray(np.maximum(heat_B, FLOOR))


def _ranked(name: str, evidence: Evidence, among_A: np.ndarray, now_s: float) -> np.ndarray:
    """What a rank is the rank by, as `compute` has it, of other items."""
    column = name.removeprefix("rank_")
    if column.startswith("heat_"):
        return np.asarray(_heat(evidence, among_A, now_s, int(column.removeprefix("heat_"))), np.float32)
    score_A = evidence.dense[column][among_A]
    if column in GROUPS["spectral"] or column in GROUPS["vector"]:
        return np.asarray(score_A, np.float32)
    return np.asarray(np.log2(FAINT + score_A), np.float32)


def _ranks(score_B: np.ndarray, among_A: np.ndarray) -> np.ndarray:
    """Place of each score among those of all candidates, as 1/(1 + place/10)."""
    order = np.sort(among_A)
    higher_B = len(order) - np.searchsorted(order, score_B, side="right")
    return np.asarray(1.0 / (1.0 + higher_B / 10.0))


def without(groups: Sequence[str]) -> list[int]:
    """Columns of the named groups and the ranks by them: what an ablation blanks."""
    names = {name for group in groups for name in GROUPS[group]}
    return sorted(COLUMNS[name] for name in NAMES if name in names or name.removeprefix("rank_") in names)
