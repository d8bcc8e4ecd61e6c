"""Neighbours: the nearest by place, against sorting."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.neighbours import Neighbours


@given(
    st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 9), min_size=2, max_size=2)), max_size=30),
    st.lists(st.integers(1, 9), min_size=2, max_size=2),
    st.integers(0, 8),
    st.integers(0, 40),
)
def test_the_nearest_are_those_that_sorting_finds(
    puts: list[tuple[int, list[int]]], query: list[int], k: int, forbidden: int
) -> None:
    neighbours = Neighbours(2, capacity=4)
    for number, (place, vector) in enumerate(puts):
        if number % 2:
            neighbours.put_one(place, np.array(vector, np.float32))
        else:
            neighbours.put(np.array([place]), np.array([vector], np.float32))
    allowed_N = np.ones(50, bool)
    allowed_N[forbidden] = False
    places, cosines = neighbours.nearest(np.array(query, np.float32), k, allowed_N)
    exact = {}  # no two of these vectors are across
    for place, vector in dict(puts).items():
        if any(vector) and place != forbidden:
            exact[place] = float(np.dot(vector, query)) / float(np.linalg.norm(vector) * np.linalg.norm(query))
    assert np.allclose(cosines, [exact[place] for place in places.tolist()], atol=1e-6)
    assert np.allclose(cosines, sorted(exact.values(), reverse=True)[:k], atol=1e-6)


def test_a_row_of_zeros_is_nowhere_and_ties_go_by_place() -> None:
    neighbours = Neighbours(2)
    neighbours.put(np.array([3, 1, 2]), np.array([[2, 0], [1, 0], [0, 0]], np.float32))
    places, cosines = neighbours.nearest(np.array([1.0, 0.0]), 9)
    assert places.tolist() == [1, 3]
    assert cosines.tolist() == [1.0, 1.0]
    neighbours.put(np.array([3]), np.zeros((1, 2), np.float32))
    assert neighbours.nearest(np.array([1.0, 0.0]), 9)[0].tolist() == [1]


def test_places_reserved_before_they_are_put_read_as_nowhere() -> None:
    neighbours = Neighbours(2, capacity=1)
    neighbours.reserve(5)
    assert neighbours.x_ND.shape == (5, 2)
    assert not neighbours.x_ND.any()
    assert neighbours.nearest(np.ones(2), 3)[0].tolist() == []
