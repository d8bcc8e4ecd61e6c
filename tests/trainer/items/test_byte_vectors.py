"""Byte vectors: near what was put, of the same length, and products that do not depend on what else is asked for."""

from __future__ import annotations

import numpy as np

from trainer.items.byte_vectors import ByteVectors, packed
from trainer.items.spectral_embedding import unit

SIZE, WIDTH = 3000, 64


def directions(count: int, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32))


def test_rows_keep_their_length_and_nearly_their_direction() -> None:
    x_ND = directions(SIZE) * np.linspace(0, 2, SIZE, dtype=np.float32)[:, None]
    held = ByteVectors.of(x_ND, SIZE + 5)
    assert np.allclose(np.linalg.norm(held[:SIZE], axis=1), np.linalg.norm(x_ND, axis=1), atol=1e-5)
    assert (np.einsum("nd,nd->n", unit(held[1:SIZE]), unit(x_ND[1:])) > 0.9999).all()
    assert not held[SIZE:].any()
    held[3] = x_ND[7]
    assert np.array_equal(held[3], held[np.array([7])][0])
    held[np.array([4, 5])] = np.zeros(WIDTH)
    assert not held[4:6].any()


def test_products_are_those_of_the_rounded_vectors_whatever_else_is_asked_for() -> None:
    held, to_KD = ByteVectors.of(directions(SIZE), SIZE), directions(3, seed=1)
    found_KN = held.products(to_KD, SIZE)
    code_KD, scale_K = packed(to_KD)
    sum_KN = code_KD.astype(np.int64) @ held.code_ND.astype(np.int64).T  # the same in plain numpy
    assert np.allclose(found_KN, sum_KN * scale_K[:, None] * held.scale_N, rtol=1e-6)
    assert np.abs(found_KN - to_KD @ directions(SIZE).T).max() < 0.01
    for number in range(3):
        assert np.array_equal(held.products(to_KD[number][None], SIZE)[0], found_KN[number])
        assert np.array_equal(held.products(to_KD, 77)[number], found_KN[number, :77])


def test_room_is_made_without_a_change() -> None:
    held = ByteVectors.of(directions(10), 10)
    before = held[:]
    held.reserve(50)
    held.reserve(20)
    assert held.shape == (50, WIDTH)
    assert np.array_equal(held[:10], before)
    assert held.nbytes == 50 * (WIDTH + 4)
