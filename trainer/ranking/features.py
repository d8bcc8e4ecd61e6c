"""Features: what the ranker sees of each candidate, one float32 row of the columns of `trainer.ranking.columns`.

Each function here writes the columns of one group.

Invariant: a feature depends only on what was known before the engagement that it helps to predict.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from store.keys import hash64
from store.requests import Request, Task
from trainer.items.catalog import CONVERSION_HALF_LIVES, NEVER, Catalog
from trainer.ranking.columns import COLUMNS, CONVERSIONS, GROUPS, MODEL_RANKS, NAMES
from trainer.retrieval.evidence import Evidence

TASKS: tuple[Task, ...] = ("home", "next", "similar", "search", "notification")

FAINT = 2.0**-16
"""What a transition share is measured from: log2 of it stands for none."""

FLOOR = -40.0
"""log2 of a popularity that is none."""

LABELS = 1024
"""Countries and devices are known by a hash below this, which float16 holds exactly."""

DOUBTED_IMPRESSIONS = 20.0
"""Against so many impressions one engagement is what is expected of an item before anything is known."""

NEVER_LOG_DAYS = 20.0
"""log2 of the days since what never was: older than anything."""

_RECENT = 10
"""So many of the user's newest items tell how popular and how old what the user takes is."""

Columns = dict[str, np.ndarray | float]
"""Name of a column → its value for each item (B), or one for all. A column that is left out is 0."""


def compute(
    evidence: Evidence,
    handles_B: np.ndarray,
    now_s: float,
    request: Request,
    model: Mapping[str, np.ndarray] | None,
    among_A: np.ndarray | None = None,
) -> np.ndarray:
    """Features of the items (B × F). Their ranks are places among all candidates of the request, `among_A`, where
    these are only some of them or none of them. `model`: what a generative model says, by column and then by handle."""
    heat_BW = _heat(evidence.catalog, handles_B, now_s)
    age_B = log_days(now_s - evidence.catalog.uploaded_at_N[handles_B])
    columns: Columns = {
        **_transitions(evidence, handles_B),
        **_likeness(evidence, handles_B),
        **{name: evidence.of(name, handles_B) for name in (*GROUPS["words"], "counts_and_words", "query")},
        **{name: np.nan if model is None else model[name][handles_B] for name in GROUPS["model"]},
        **_popularity(evidence.catalog, handles_B, heat_BW),
        **_age(evidence.catalog, handles_B, age_B, now_s),
        **_quality(evidence.catalog, handles_B, heat_BW, now_s),
        **_repeats(evidence, handles_B, now_s),
        **_refused(evidence, handles_B),
        **_user(evidence, heat_BW, age_B, now_s),
        **_request(request, now_s),
    }
    x_BF = np.zeros((len(handles_B), len(NAMES)), np.float32)
    for name, values in columns.items():
        x_BF[:, COLUMNS[name]] = values
    for name in GROUPS["ranks"]:
        score_B = x_BF[:, COLUMNS[name.removeprefix("rank_")]]
        if model is None and name in MODEL_RANKS:
            x_BF[:, COLUMNS[name]] = np.nan
            continue
        score_A = score_B if among_A is None else _ranked_by(name, evidence, among_A, now_s, model)
        x_BF[:, COLUMNS[name]] = _ranks(score_B, score_A)
    return x_BF


def log_days(age_s: np.ndarray) -> np.ndarray:
    """log2 of ages in days; a thousandth of a day is the least that counts."""
    return np.asarray(np.log2(1e-3 + np.maximum(age_s, 0.0) / 86_400.0))


def _transitions(evidence: Evidence, handles_B: np.ndarray) -> Columns:
    names = (*GROUPS["transitions"], *GROUPS["counts"], *GROUPS["two_hops"])
    return {name: np.log2(FAINT + evidence.of(name, handles_B)) for name in names}


def _products(evidence: Evidence, source: str, x_BD: np.ndarray, near_LD: np.ndarray) -> np.ndarray:
    """Products of vectors with where a source's taste lies, with the newest item, and the greatest with any of the
    newest items (3 × B)."""
    product_BL = x_BD @ near_LD.T
    return np.stack([evidence.near[source].products(x_BD), product_BL[:, 0], product_BL.max(axis=1)])


def _spectral(evidence: Evidence, handles_B: np.ndarray, near_L: np.ndarray) -> Columns:
    x_ND = evidence.near["spectral_taste"].x_ND
    return dict(
        zip(GROUPS["spectral"], _products(evidence, "spectral_taste", x_ND[handles_B], x_ND[near_L]), strict=True)
    )


def _vector(evidence: Evidence, handles_B: np.ndarray, near_L: np.ndarray) -> Columns:
    x_ND, expected_BD = evidence.near["vector_taste"].x_ND, evidence.published.expected_ND[handles_B]
    products = (_products(evidence, "vector_taste", x_BD, x_ND[near_L]) for x_BD in (x_ND[handles_B], expected_BD))
    return dict(zip(GROUPS["vector"], np.concatenate([*products]), strict=True))


def _content(evidence: Evidence, handles_B: np.ndarray, near_L: np.ndarray) -> Columns:
    """Likeness by content: as it is, and by where content says that behaviour will put an item."""
    x_ND, content_NC = evidence.near["spectral_taste"].x_ND, evidence.near["content_taste"].x_ND
    mapped_BD = evidence.near["content_spectral"].x_ND[handles_B]
    taste_B, last_B, most_B = _products(evidence, "content_spectral", mapped_BD, x_ND[near_L])
    columns: Columns = {
        "content_spectral": taste_B,
        "content_spectral_last": last_B,
        "content_spectral_max": most_B,
    }
    taste_B, last_B, most_B = _products(evidence, "content_taste", content_NC[handles_B], content_NC[near_L])
    return columns | {"content_taste": taste_B, "content_last": last_B, "content_max": most_B}


def _likeness(evidence: Evidence, handles_B: np.ndarray) -> Columns:
    """How near the items are to what the user's newest items are, in each space; nothing without a history."""
    near_L = evidence.taste.handles_L[: evidence.rules.near]
    if not len(near_L):
        return {}
    groups = (part(evidence, handles_B, near_L) for part in (_spectral, _vector, _content))
    return {name: column for columns in groups for name, column in columns.items()}


def _popularity(catalog: Catalog, handles_B: np.ndarray, heat_BW: np.ndarray) -> Columns:
    return {
        **{f"heat_{half_life}": heat_BW[:, half_life] for half_life in range(heat_BW.shape[1])},
        "positives": np.log1p(catalog.positives_N[handles_B]),
        "trend_short": heat_BW[:, 1] - heat_BW[:, 3],
        "trend_long": heat_BW[:, 3] - heat_BW[:, 5],
    }


def _age(catalog: Catalog, handles_B: np.ndarray, age_B: np.ndarray, now_s: float) -> Columns:
    engaged_B = catalog.positives_N[handles_B] > 0
    return {
        "age": age_B,
        "since_first": np.where(engaged_B, log_days(now_s - catalog.first_at_N[handles_B]), -1.0),
        "since_last": np.where(engaged_B, log_days(now_s - catalog.last_at_N[handles_B]), NEVER_LOG_DAYS),
    }


def _quality(catalog: Catalog, handles_B: np.ndarray, heat_BW: np.ndarray, now_s: float) -> Columns:
    """What people said of an item. Conversion is log2 of popularity over impressions, both with the same half-life; NaN
    where the stream told of no impression."""
    negatives_B = catalog.negatives_N[handles_B]
    columns: Columns = {
        "value": catalog.value_N[handles_B],
        "negative_share": negatives_B / np.maximum(1.0, negatives_B + catalog.positives_N[handles_B]),
    }
    for column, (name, half_life) in enumerate(zip(CONVERSIONS, CONVERSION_HALF_LIVES, strict=True)):
        shown_B = catalog.shown_NV[handles_B, column]
        seen_B = np.exp2(np.maximum(shown_B - now_s / catalog.half_lives_s_W[half_life], FLOOR))
        ratio_B = np.log2((np.exp2(heat_BW[:, half_life]) + 1.0) / (seen_B + DOUBTED_IMPRESSIONS))
        columns[name] = np.where(shown_B > NEVER, ratio_B, np.nan)
    return columns


def _repeats(evidence: Evidence, handles_B: np.ndarray, now_s: float) -> Columns:
    """How often the user had it, and how long ago."""
    times_B, last_at_B = evidence.taste.repeats.of(handles_B)
    return {
        "repeats": np.log2(FAINT + evidence.of("repeats", handles_B)),
        "repeat_times": np.log1p(times_B),
        "repeat_gap": np.where(times_B > 0, log_days(now_s - last_at_B), NEVER_LOG_DAYS),
    }


def _refused(evidence: Evidence, handles_B: np.ndarray) -> Columns:
    """How like it is to the likest of what the user turned away; NaN for who turned nothing away."""
    refused_R = evidence.taste.refused_R
    refused_R = refused_R[refused_R < evidence.size]
    if not len(refused_R):
        return dict.fromkeys(GROUPS["refused"], np.nan)
    x_ND, content_NC = evidence.spectral.x_ND, evidence.content.x_NC
    return {
        "refused_spectral": (x_ND[handles_B] @ x_ND[refused_R].T).max(axis=1),
        "refused_content": (content_NC[handles_B] @ content_NC[refused_R].T).max(axis=1),
    }


def _user(evidence: Evidence, heat_BW: np.ndarray, age_B: np.ndarray, now_s: float) -> Columns:
    """What the user takes, the same for every candidate, and how each candidate differs from that."""
    catalog, taste = evidence.catalog, evidence.taste
    recent_L = taste.handles_L[:_RECENT]
    user_heat, user_age = FLOOR, -1.0
    if len(recent_L):
        user_heat = float(_heat(catalog, recent_L, now_s)[:, 4].mean())
        user_age = float(log_days(taste.times_L[:_RECENT] - catalog.uploaded_at_N[recent_L]).mean())
    return {
        "history": np.log1p(taste.count),
        "user_gap": log_days(np.array(now_s - taste.last_at)) if taste.count else NEVER_LOG_DAYS,
        "user_heat": user_heat,
        "user_age": user_age,
        "heat_difference": heat_BW[:, 4] - user_heat,
        "age_difference": age_B - user_age,
    }


def _request(request: Request, now_s: float) -> Columns:
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


def _heat(catalog: Catalog, handles_B: np.ndarray, now_s: float, half_life: int | slice = slice(None)) -> np.ndarray:
    """log2 of popularity as of now: for all half-lives (B × W), or for one (B)."""
    heat_B = catalog.heat_NW[handles_B, half_life] - now_s / catalog.half_lives_s_W[half_life]
    return np.asarray(np.maximum(heat_B, FLOOR))


def _ranked_by(
    name: str, evidence: Evidence, among_A: np.ndarray, now_s: float, model: Mapping[str, np.ndarray] | None
) -> np.ndarray:
    """What a rank is the rank by, as `compute` has it, of other items."""
    column = name.removeprefix("rank_")
    if model is not None and column in model:
        return np.asarray(model[column][among_A], np.float32)
    if column.startswith("heat_"):
        heat_A = _heat(evidence.catalog, among_A, now_s, int(column.removeprefix("heat_")))
        return np.asarray(heat_A, np.float32)
    score_A = evidence.of(column, among_A)
    if any(column in GROUPS[group] for group in ("spectral", "vector", "words", "counts_and_words")):
        return np.asarray(score_A, np.float32)
    return np.asarray(np.log2(FAINT + score_A), np.float32)


def _ranks(score_B: np.ndarray, among_A: np.ndarray) -> np.ndarray:
    """Place of each score among those of all candidates, as 1/(1 + place/10)."""
    order = np.sort(among_A)
    higher_B = len(order) - np.searchsorted(order, score_B, side="right")
    return np.asarray(1.0 / (1.0 + higher_B / 10.0))
