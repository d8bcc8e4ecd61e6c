"""An ablation blanks what it names, and counts in pairs."""

from __future__ import annotations

from trainer.features import COLUMNS, GROUPS, without


def test_a_group_goes_with_the_ranks_by_it() -> None:
    gone = set(without(["vector"]))
    assert gone == {COLUMNS[name] for name in (*GROUPS["vector"], "rank_vector_taste")}
    assert not gone & set(without(["space"]))


def test_every_column_belongs_to_some_group() -> None:
    assert without(tuple(GROUPS)) == sorted(COLUMNS.values())
