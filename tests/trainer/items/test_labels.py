"""Labels: an item bears what its newest card says, whatever came before, and no change costs memory for good."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_world import card
from trainer.items.labels import LEAST_PAIRS, Labels

cards = st.builds(
    lambda number, category, tags: card(number, category=category, tags=tags),
    st.integers(0, 5),
    st.none() | st.sampled_from(["a", "b"]),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=3),
)


@settings(max_examples=100)
@given(changes=st.lists(cards | st.integers(0, 5), max_size=30), values=st.sets(st.sampled_from(["a", "b", "z"])))
def test_who_bears_a_label_is_whose_newest_card_says_so(changes: list[Any], values: set[str]) -> None:
    labels, newest = Labels(), {}
    for change in changes:
        handle = change if isinstance(change, int) else int(change.item_id[1:])
        newest[handle] = None if isinstance(change, int) else change
        labels.replace(handle, newest[handle])
    by_category = {handle for handle, one in newest.items() if one is not None and one.category in values}
    by_tag = {handle for handle, one in newest.items() if one is not None and values & {*one.tags}}
    assert {*labels.bearers("categories", values, 6).nonzero()[0].tolist()} == by_category
    assert {*labels.bearers("tags", values, 6).nonzero()[0].tolist()} == by_tag
    assert labels.bearers("tags", values, 2).tolist() == [number in by_tag for number in range(2)]


def test_items_that_change_and_go_leave_nothing() -> None:
    labels = Labels()
    for turn in range(40):
        for number in range(200):
            labels.replace(number, card(number, category=f"c{turn}", tags=["t", "t"]))
    assert labels.bearers("categories", ["c39"], 200).all()
    assert not labels.bearers("categories", ["c38"], 200).any()
    assert labels.bearers("tags", ["t"], 200).all()
    assert labels.pairs < 4 * LEAST_PAIRS
    for number in range(200):
        labels.replace(number, None)
    assert not labels.bearers("tags", ["t"], 200).any()
