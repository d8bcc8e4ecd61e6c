"""Item learning: what one signal teaches the row of its item.

All decay is in event time. A transition (earlier item → this item) is kept by forward decay (Cormode et al., ICDE
2009): instead of shrinking what is old, what is new enters larger by 2^((t - landmark) / half-life), so that absorbing
touches only the signal's own context, and late signals weigh what they would have weighed in time. Popularity is kept
for a ladder of half-lives as of `decayed_at`, the highest time seen; a late signal enters already decayed.

Invariant: a row is a function of the sequence of its item's signals: batches, the wall clock and other items have no
part in it; counters do not depend even on the order.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from store.events import KIND_CODES
from store.items import ItemRow
from store.signals import Signal

_IMPRESSION = KIND_CODES["impression"]

HOUR_S = 3600.0
DAY_S = 86_400.0


class ItemRules(msgspec.Struct, frozen=True, kw_only=True):
    """How much an item remembers, and for how long (half-lives in seconds of event time).

    `neighbours` transitions are kept, the heaviest; a row may grow to `neighbours + slack` between prunings.
    """

    half_lives_s: tuple[float, ...] = (
        HOUR_S,
        8 * HOUR_S,
        2 * DAY_S,
        8 * DAY_S,
        30 * DAY_S,
        120 * DAY_S,
        480 * DAY_S,
    )
    neighbours: int = 64
    slack: int = 32
    neighbour_half_life_s: float = 180 * DAY_S
    position_power: float = 0.5
    rebase_doublings: float = 32.0


def absorb(row: ItemRow, signal: Signal, rules: ItemRules) -> None:
    """Absorbs `signal` into the row of its item, in place. Whether it is new is the caller's to know (origins)."""
    row.counters[signal.kind] = row.counters.get(signal.kind, 0) + 1
    if signal.value is not None:
        row.value_sum += signal.value
        row.value_count += 1
    if signal.weight <= 0:
        if signal.weight < 0:
            row.negatives += 1
        if signal.kind == _IMPRESSION:
            _absorb_impression(row, signal.occurred_at, rules)
        return
    at = signal.occurred_at
    if row.positives == 0:
        row.first_at = row.last_at = row.decayed_at = row.landmark = at
        row.popularity = [0.0] * len(rules.half_lives_s)
    row.positives += 1
    row.first_at = min(row.first_at, at)
    row.last_at = max(row.last_at, at)
    _absorb_popularity(row, at, signal.weight, rules)
    if signal.context:
        _absorb_context(row, signal, rules)


def _absorb_popularity(row: ItemRow, at: float, weight: float, rules: ItemRules) -> None:
    row.popularity = _decayed(row.popularity, at - row.decayed_at, weight, rules)
    row.decayed_at = max(row.decayed_at, at)


def _absorb_impression(row: ItemRow, at: float, rules: ItemRules) -> None:
    """Somebody saw it: what its popularity is to be measured against."""
    if not row.shown:
        row.shown, row.shown_at = [0.0] * len(rules.half_lives_s), at
    row.shown = _decayed(row.shown, at - row.shown_at, 1.0, rules)
    row.shown_at = max(row.shown_at, at)


def _decayed(have_W: list[float], gap_s: float, weight: float, rules: ItemRules) -> list[float]:
    """Decayed sums with `weight` added `gap_s` after they were last seen, or so long before if below 0."""
    if gap_s >= 0:
        return [
            have * 2.0 ** (-gap_s / half_s) + weight for have, half_s in zip(have_W, rules.half_lives_s, strict=True)
        ]
    return [have + weight * 2.0 ** (gap_s / half_s) for have, half_s in zip(have_W, rules.half_lives_s, strict=True)]


def _absorb_context(row: ItemRow, signal: Signal, rules: ItemRules) -> None:
    doublings = (signal.occurred_at - row.landmark) / rules.neighbour_half_life_s
    if doublings > rules.rebase_doublings:
        _rebase(row, doublings)
        row.landmark = signal.occurred_at
        doublings = 0.0
    growth = signal.weight * 2.0**doublings
    neighbours = row.neighbours
    own = signal.item_id
    for earlier, discount in zip(signal.context, _discounts(rules.position_power), strict=False):
        if earlier != own:
            neighbours[earlier] = neighbours.get(earlier, 0.0) + growth * discount
    if len(neighbours) > rules.neighbours + rules.slack:
        _prune(row, rules.neighbours)


def _rebase(row: ItemRow, doublings: float) -> None:
    """Moves the landmark to now: numbers shrink, ratios stay."""
    shrink = 2.0**-doublings
    row.neighbours = {item_id: weight * shrink for item_id, weight in row.neighbours.items()}


def _prune(row: ItemRow, keep: int) -> None:
    """Keeps the heaviest (of equals the newest) in the order they came, so that equal rows stay equal byte for byte."""
    neighbours = row.neighbours
    for item_id in sorted(neighbours, key=neighbours.__getitem__)[: len(neighbours) - keep]:
        del neighbours[item_id]
    row.prunings += 1


@lru_cache(maxsize=8)
def _discounts(power: float) -> tuple[float, ...]:
    return tuple((1.0 + place) ** -power for place in range(256))
