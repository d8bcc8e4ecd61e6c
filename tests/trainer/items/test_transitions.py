"""Transitions: against a dictionary, from both ends, whatever comes, goes and comes back."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.items.transitions import Transitions

HANDLES = 40

rows = st.tuples(
    st.integers(0, HANDLES - 1),
    st.dictionaries(st.integers(0, HANDLES - 1), st.integers(-8, 8), max_size=HANDLES),
)
wide = dict.fromkeys(range(HANDLES), 1)
back_and_forth = [(3, {0: 1, 1: 2}), (3, {0: 1}), (3, {0: 1, 1: 4}), (4, wide), (4, {}), (5, wide), (4, {7: 1})]


def told(transitions: Transitions) -> list[dict[tuple[int, int], float]]:
    """(earlier, later) → log2 weight: from the later one's end, from the earlier one's, and all at once."""
    into, out_of = {}, {}
    for handle in range(HANDLES):
        sources, logs = transitions.into(handle)
        assert len(set(sources.tolist())) == len(sources)
        into |= {(source, handle): log for source, log in zip(sources.tolist(), logs.tolist(), strict=True)}
        targets, logs = transitions.out_of(handle)
        assert len(set(targets.tolist())) == len(targets)
        out_of |= {(handle, target): log for target, log in zip(targets.tolist(), logs.tolist(), strict=True)}
    sources, targets, logs = transitions.all()
    pairs = zip(sources.tolist(), targets.tolist(), strict=True)
    return [into, out_of, dict(zip(pairs, logs.tolist(), strict=True))]


@given(st.lists(rows, max_size=40))
@example(back_and_forth)
@example([(target, wide) for target in range(HANDLES)] * 2)
@example([(0, {n % HANDLES: 1, (n + 1) % HANDLES: 1}) for n in range(200)])
def test_both_ends_tell_the_newest_row_of_each_item(some: list[tuple[int, dict[int, int]]]) -> None:
    transitions, wanted = Transitions(), {}
    transitions.reserve(HANDLES)
    for target, row in some:
        transitions.replace(target, np.fromiter(row, np.int32, len(row)), np.fromiter(row.values(), float, len(row)))
        wanted = {pair: log for pair, log in wanted.items() if pair[1] != target}
        wanted |= {(source, target): float(log) for source, log in row.items()}
        assert told(transitions) == [wanted] * 3
