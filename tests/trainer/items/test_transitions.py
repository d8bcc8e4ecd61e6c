"""Transitions: against a dictionary, from both ends, whatever comes, goes and comes back."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
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


batches = st.lists(
    st.dictionaries(
        st.integers(0, HANDLES - 1),
        st.dictionaries(st.integers(0, HANDLES - 1), st.integers(-8, 8), max_size=HANDLES),
        max_size=6,
    ),
    max_size=12,
)


@settings(max_examples=20)
@given(batches)
@example([{1: {2: 1, 3: 1}, 2: {3: 5}}, {1: {3: 2, 2: 1}}, {1: {}, 2: wide, 3: wide}, {2: {5: 1, 4: 1}}])
@example([{n % HANDLES: dict.fromkeys(range(n % 30), n) for n in range(turn, turn + 20)} for turn in range(8)])
def test_a_batch_of_rows_is_taken_as_they_are_one_by_one(some: list[dict[int, dict[int, int]]]) -> None:
    many, single, wanted = Transitions(), Transitions(), {}
    many.reserve(HANDLES)
    single.reserve(HANDLES)
    for batch in some:
        edges = [(source, log) for row in batch.values() for source, log in row.items()]
        counts = np.array([len(row) for row in batch.values()], np.int64)
        sources, logs = np.array(edges, np.int32).reshape(-1, 2).T
        many.replace_many(np.array(list(batch), np.int64), counts, sources, logs.astype(float))
        for target, row in batch.items():
            single.replace(target, np.fromiter(row, np.int32, len(row)), np.fromiter(row.values(), float, len(row)))
            wanted = {pair: log for pair, log in wanted.items() if pair[1] != target}
            wanted |= {(source, target): float(log) for source, log in row.items()}
        assert told(many) == told(single) == [wanted] * 3
        assert by_item(many) == by_item(single)


def by_item(transitions: Transitions) -> list[list[tuple[int, int, float]]]:
    """What `ends_of` tells of all items, into them and out of them."""
    return [
        sorted(zip(np.repeat(np.arange(HANDLES), counts).tolist(), ends.tolist(), logs.tolist(), strict=True))
        for counts, ends, logs in transitions.ends_of(np.arange(HANDLES))
    ]


def test_sources_whose_cells_are_the_same_are_told_apart() -> None:
    """A row of a thousand has more sources than its table has cells."""
    transitions, rng = Transitions(), np.random.default_rng(0)
    transitions.reserve(3000)
    for _ in range(3):
        sources = rng.permutation(2000)[:1000].astype(np.int32)
        transitions.replace_many(np.array([2500]), np.array([1000]), sources, sources.astype(float))
    assert dict(zip(*(column.tolist() for column in transitions.into(2500)), strict=True)) == {
        source: float(source) for source in sources.tolist()
    }
    assert sum(len(transitions.out_of(source)[0]) for source in range(2000)) == 1000


def test_a_reader_finds_a_block_that_was_left_as_it_was_until_the_next_change() -> None:
    transitions = Transitions()
    transitions.reserve(3)
    transitions.replace(0, np.array([1, 2], np.int32), np.array([1.0, 2.0]))
    span, edges = transitions._into.at(0), transitions._edge_S
    transitions.replace(0, np.array([2], np.int32), np.array([3.0]))
    start, count = span
    assert edges[start : start + count].tolist() == [(1, 1.0), (2, 2.0)]
    assert transitions._into.at(0) != span
