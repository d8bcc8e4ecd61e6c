"""Columns: each has one place, and groups that are taken away take the ranks by them along."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trainer.ranking.columns import COLUMNS, CONTENT_ALONE, GROUPS, NAMES, without

groups = st.sets(st.sampled_from(sorted(GROUPS)))


def test_every_column_has_one_name_and_one_place() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(COLUMNS)
    assert [NAMES[COLUMNS[name]] for name in NAMES] == list(NAMES)
    assert set(CONTENT_ALONE) <= set(NAMES)


@given(some=groups, others=groups)
def test_taking_away_two_sets_of_groups_takes_what_each_takes(some: set[str], others: set[str]) -> None:
    both = without(sorted(some | others))
    assert both == sorted({*without(sorted(some)), *without(sorted(others))})


def test_no_rank_tells_what_was_taken_away() -> None:
    ranks = set(GROUPS["ranks"])
    for group in set(GROUPS) - {"ranks"}:
        gone = {NAMES[place] for place in without([group])}
        assert gone - ranks == set(GROUPS[group])
        assert gone & ranks == {rank for rank in ranks if rank.removeprefix("rank_") in GROUPS[group]}
    assert without([]) == []
    assert without(list(GROUPS)) == list(range(len(NAMES)))


def test_each_rank_is_of_a_column() -> None:
    assert {rank.removeprefix("rank_") for rank in GROUPS["ranks"]} <= set(NAMES)
