"""The health of a codebook: does every item have an ID of its own, is every code used, do new items still fit?

All figures are pure functions of codes and content. Drift is how much worse fresh items are quantised than items like
those the version was made of (left out when its codes were fitted); past `drift_bound` a refresh is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from trainer.semantic_ids.codebook import Codebook

DRIFT_BOUND = 1.25
"""Fresh items that are quantised a quarter worse than those the version was made of call for a refresh."""


class LevelHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One level: how many codes there are, how many no item has, and how many are used in effect (perplexity)."""

    codes: int
    dead: int
    perplexity: float


class CodebookHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A version's fit to the live items. Errors are squared distances of rows of length 1; `drift` is fresh / made."""

    codebook: str
    items: int
    unique: float
    """The share of items whose codes no other item has."""
    distinct: float
    """Different IDs divided by items."""
    largest_collision: int
    collision_ratio: float
    levels: list[LevelHealth]
    error_old: float
    error_fresh: float
    error_when_made: float
    drift: float
    refresh_due: bool
    churn: list[float] = []
    """By level, the share of the items then known whose codes this version changed; empty for one with no parent."""
    unmapped: list[str] = []
    """Modalities that came after this version's maps were made: only `sidestream codebook train` can take them in."""


def health_of(
    book: Codebook,
    codes_NL: np.ndarray,
    old_parts: Sequence[Mapping[str, np.ndarray]],
    fresh_parts: Sequence[Mapping[str, np.ndarray]],
    *,
    drift_bound: float = DRIFT_BOUND,
) -> CodebookHealth:
    """Health from the live items' codes, and samples of the content of old and of fresh items."""
    sizes = _sizes(codes_NL)
    items = max(len(codes_NL), 1)
    alone = float((sizes == 1).sum()) / items if len(codes_NL) else 1.0
    error_old, error_fresh = _error(book, old_parts), _error(book, fresh_parts)
    made = float(book.about.get("quantization_error") or error_old or error_fresh)
    drift = error_fresh / made if fresh_parts and made > 0 else 1.0
    return CodebookHealth(
        codebook=book.version,
        items=len(codes_NL),
        unique=alone,
        distinct=len(sizes) / items if len(codes_NL) else 1.0,
        largest_collision=int(sizes.max(initial=0)),
        collision_ratio=1.0 - alone,
        levels=[level_health(codes_NL[:, level], width) for level, width in enumerate(book.widths)],
        error_old=error_old,
        error_fresh=error_fresh,
        error_when_made=made,
        drift=drift,
        refresh_due=drift > drift_bound,
        churn=[float(share) for share in book.about.get("churn") or ()],
        unmapped=list(book.about.get("unmapped") or ()),
    )


def level_health(code_N: np.ndarray, width: int) -> LevelHealth:
    """Use of one level's codes."""
    count_W = np.bincount(code_N, minlength=width)
    return LevelHealth(codes=width, dead=int((count_W == 0).sum()), perplexity=perplexity(count_W))


def perplexity(count_W: np.ndarray) -> float:
    """How many codes are used in effect: `len(count_W)` when evenly, 1 when only one, 0 when there are no items.

    >>> round(perplexity(np.array([5, 5, 0])), 6)
    2.0
    """
    total = count_W.sum()
    if total == 0:
        return 0.0
    share = count_W[count_W > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def _sizes(codes_NL: np.ndarray) -> np.ndarray:
    """How many items share each ID."""
    sizes: np.ndarray = np.unique(codes_NL, axis=0, return_counts=True)[1]
    return sizes


def _error(book: Codebook, parts: Sequence[Mapping[str, np.ndarray]]) -> float:
    return float(book.quantization_error(book.fuse(parts)).mean()) if parts else 0.0


def told(health: CodebookHealth) -> list[str]:
    """The health in a few lines for people."""
    levels = "; ".join(
        f"level {place + 1}: {level.codes} codes, {level.dead} dead, perplexity {level.perplexity:.0f}"
        for place, level in enumerate(health.levels)
    )
    churn = ", ".join(f"{share:.1%}" for share in health.churn) or "none (no version before it)"
    due = ", a refresh is due" if health.refresh_due else ""
    return [
        f"{health.codebook}: {health.unique:.1%} of {health.items:,} items have codes of their own, "
        f"{health.distinct:.1%} distinct IDs, at most {health.largest_collision} items share one",
        levels,
        f"error {health.error_old:.3f} on old items, {health.error_fresh:.3f} on fresh ones, "
        f"{health.error_when_made:.3f} when made: drift {health.drift:.2f}{due}",
        f"churn by level against the version before: {churn}",
        *(
            [f"passed over: {', '.join(health.unmapped)}; train a new version to take them in"]
            if health.unmapped
            else []
        ),
    ]
