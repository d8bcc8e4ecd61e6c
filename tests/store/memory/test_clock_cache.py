"""A cache of records holds what was put last, never more than its capacity, and keeps what is used."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.memory.clock_cache import ClockCache, Staged

RECORD = np.dtype([("number", "<i8")])


def records(*numbers: int) -> np.ndarray:
    return np.array([(number,) for number in numbers], RECORD)


def held(cache: ClockCache | Staged, keys: list[str]) -> dict[str, int]:
    found = records(*[-1] * len(keys))
    missing = cache.fill(keys, list(range(len(keys))), found)
    return {key: int(found["number"][place]) for place, key in enumerate(keys) if place not in missing}


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=8), max_size=30), st.integers(1, 6))
def test_a_record_is_what_was_put_last_and_no_more_are_held_than_there_is_room(
    batches: list[list[int]], capacity: int
) -> None:
    cache = ClockCache(RECORD, capacity)
    last: dict[str, int] = {}
    for turn, keys in enumerate(batches):
        named = [f"k{key}" for key in keys]
        cache.put(named, records(*(100 * turn + place for place in range(len(named)))))
        last |= {key: 100 * turn + place for place, key in enumerate(named)}
        found = held(cache, list(last))
        assert len(found) <= capacity
        assert found.items() <= last.items()
        newest = list(dict.fromkeys(named))
        if len(newest) <= capacity:
            assert set(newest) <= set(found)


def test_what_is_used_outlives_what_is_not() -> None:
    cache = ClockCache(RECORD, 16)
    cache.put([f"old{n}" for n in range(16)], records(*range(16)))
    cache.put(["first"], records(99))  # the hand passes once: nothing is marked as used any more
    used = [f"old{n}" for n in range(4, 12)]
    assert len(held(cache, used)) == 8
    cache.put([f"new{n}" for n in range(7)], records(*range(7)))
    assert len(held(cache, used)) == 8


def test_what_is_forgotten_is_gone_and_leaves_its_room() -> None:
    cache = ClockCache(RECORD, 2)
    cache.put(["a", "b"], records(1, 2))
    cache.forget("a")
    cache.forget("unknown")
    cache.put(["c"], records(3))
    assert held(cache, ["a", "b", "c"]) == {"b": 2, "c": 3}


def test_what_is_staged_is_handed_out_once() -> None:
    staged = Staged(RECORD)
    staged.put(["a", "b", "a"], records(1, 2, 3))
    assert held(staged, ["a", "b", "c"]) == {"a": 3, "b": 2}
    keys, taken = staged.take()
    assert dict(zip(keys, taken["number"].tolist(), strict=True)) == {"a": 3, "b": 2}
    assert held(staged, ["a", "b"]) == {}
    staged.put([f"k{n}" for n in range(500)], records(*range(500)))
    assert taken["number"].tolist() == [3, 2]
    assert len(staged.all()[0]) == 500
