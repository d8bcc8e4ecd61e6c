from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.events import KIND_CODES
from store.items import ItemRow
from store.signals import Signal
from trainer.items.item_learning import DAY_S, ItemRules, absorb

RULES = ItemRules(half_lives_s=(DAY_S, 10 * DAY_S), neighbours=4, slack=2, neighbour_half_life_s=10 * DAY_S)


def signal(at: float, *context: str, kind: int = 1, weight: float = 1.0, value: float | None = None) -> Signal:
    return Signal("here", f"{at}", kind, at, weight, value, list(context))


IMPRESSION = KIND_CODES["impression"]


def learned(*signals: Signal, rules: ItemRules = RULES) -> ItemRow:
    row = ItemRow()
    for one in signals:
        absorb(row, one, rules)
    return row


signals = st.builds(
    lambda at, context, kind, weight: signal(at, *context, kind=kind, weight=weight),
    st.floats(1e9, 1e9 + 1e7),
    st.lists(st.sampled_from("abc"), max_size=4),
    st.sampled_from([*range(5), IMPRESSION]),
    st.sampled_from([-1.0, 0.0, 1.0, 3.0]),
)


@given(st.lists(signals, max_size=20), st.randoms())
def test_order_changes_nothing_but_rounding(some: list[Signal], random: object) -> None:
    there, back = learned(*some), learned(*reversed(some))
    assert there.counters == back.counters
    assert (there.positives, there.negatives, there.first_at, there.last_at) == (
        back.positives,
        back.negatives,
        back.first_at,
        back.last_at,
    )
    assert there.popularity == pytest.approx(back.popularity)
    assert (there.shown, there.shown_at) == (pytest.approx(back.shown), back.shown_at)

    def as_of_now(row: ItemRow) -> dict[str, float]:
        scale = 2.0 ** ((row.landmark - 1e9) / RULES.neighbour_half_life_s)
        return {item: weight * scale for item, weight in row.neighbours.items()}

    assert as_of_now(there) == pytest.approx(as_of_now(back), rel=1e-6)


@given(st.lists(signals, max_size=20), st.integers(0, 20))
def test_a_row_that_went_through_the_store_learns_on_as_if_it_had_not(some: list[Signal], cut: int) -> None:
    row = learned(*some[:cut])
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=ItemRow)
    for one in some[cut:]:
        absorb(row, one, RULES)
        absorb(again, one, RULES)
    assert msgspec.msgpack.encode(row) == msgspec.msgpack.encode(again)


def test_popularity_halves_and_a_late_signal_enters_decayed() -> None:
    row = learned(signal(10 * DAY_S), signal(9 * DAY_S))
    assert row.popularity == pytest.approx([1.5, 1 + 2**-0.1])


def test_negative_engagements_count_but_do_not_recommend() -> None:
    row = learned(signal(0.0, "a", kind=10, weight=-2.0, value=0.5))
    assert (row.counters, row.positives, row.negatives, row.neighbours) == ({10: 1}, 0, 1, {})
    assert (row.value_sum, row.value_count) == (0.5, 1)


def test_newer_and_nearer_context_weighs_more_and_an_item_is_not_its_own_neighbour() -> None:
    row = learned(signal(0.0, "near", "far", "here"), signal(10 * DAY_S, "new"))
    assert row.neighbours["new"] == pytest.approx(2 * row.neighbours["near"])
    assert row.neighbours["near"] > row.neighbours["far"]
    assert "here" not in row.neighbours


def test_pruning_keeps_the_heaviest_in_order() -> None:
    row = learned(*(signal(0.0, name) for name in "aabbccdefg"))
    assert list(row.neighbours)[:3] == ["a", "b", "c"]
    assert len(row.neighbours) <= RULES.neighbours + RULES.slack
    assert row.prunings >= 1


def test_ages_of_time_do_not_overflow() -> None:
    row = learned(*(signal(year * 365 * DAY_S, "a", f"b{year}") for year in range(60)))
    assert all(np.isfinite(weight) for weight in row.neighbours.values())
    assert row.neighbours["a"] == max(row.neighbours.values())


def test_a_full_row_stays_small() -> None:
    rules = ItemRules()
    row = learned(*(signal(1e9 + n, *(f"item-{n}-{m}" for m in range(20))) for n in range(50)), rules=rules)
    assert len(msgspec.msgpack.encode(row)) < 3000


def test_impressions_fade_like_popularity_and_are_none_of_it() -> None:
    seen = [signal(1e9 + day * DAY_S, kind=IMPRESSION, weight=0.0) for day in (0, 1)]
    row = learned(*seen, signal(1e9 + DAY_S))
    assert row.shown == pytest.approx([1.5, 1.0 + 2**-0.1])
    assert row.popularity == [1.0, 1.0]
    assert (row.positives, row.counters[IMPRESSION]) == (1, 2)
