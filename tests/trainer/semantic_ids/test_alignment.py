"""Alignment: which items are pairs, and how likely; a map that begins as content is; a loss that wants pairs near."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from trainer.semantic_ids.alignment import ALIGNED, AlignedMap, contrastive, pairs_of

histories = st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=5)


@given(histories=histories, most_apart=st.integers(1, 4))
def test_pairs_are_what_one_user_took_shortly_after_the_other(histories: list[list[int]], most_apart: int) -> None:
    pairs = pairs_of(histories, most_apart)
    expected = Counter(
        (earlier, later)
        for items in histories
        for place, earlier in enumerate(items)
        for later in items[place + 1 : place + 1 + most_apart]
        if earlier != later
    )
    assert Counter(zip(pairs.earlier_P.tolist(), pairs.later_P.tolist(), strict=True)) == expected
    assert pairs.chance_P.sum() == pytest.approx(1.0 if expected else 0.0)


def test_the_nearer_the_likelier() -> None:
    pairs = pairs_of([[7, 8, 9]])
    chance = dict(zip(zip(pairs.earlier_P.tolist(), pairs.later_P.tolist(), strict=True), pairs.chance_P, strict=True))
    assert chance[7, 8] == chance[8, 9] == pytest.approx(2 * chance[7, 9])


def test_only_the_newest_hundred_of_a_history_speak() -> None:
    assert set(pairs_of([range(500)]).earlier_P.tolist()) == set(range(400, 499))


@pytest.mark.parametrize("width", [ALIGNED // 2, ALIGNED])
def test_before_it_has_learned_a_map_keeps_likenesses_as_content_has_them(width: int) -> None:
    p_BC = F.normalize(torch.randn(20, width), dim=1)
    with torch.no_grad():
        aligned_BA = AlignedMap(width).eval()(p_BC)
    torch.testing.assert_close(aligned_BA @ aligned_BA.T, p_BC @ p_BC.T)


def loss_of(a_BD: torch.Tensor, b_BD: torch.Tensor, a: list[int], b: list[int], log_chance_N: torch.Tensor) -> float:
    return float(contrastive(a_BD, b_BD, torch.tensor(a), torch.tensor(b), log_chance_N))


def test_the_loss_is_least_where_each_finds_its_own() -> None:
    x_BD, even_N = F.normalize(torch.randn(6, 16), dim=1), torch.zeros(12)
    first, second = list(range(6)), list(range(6, 12))
    found = loss_of(x_BD, x_BD, first, second, even_N)
    assert found < loss_of(x_BD, x_BD.roll(1, 0), first, second, even_N)
    assert found == pytest.approx(loss_of(x_BD, x_BD, first, second, even_N + 3.0), abs=1e-5), "chances are relative"


def test_an_item_that_is_the_answer_by_another_row_is_no_negative() -> None:
    x_BD = F.normalize(torch.randn(1, 8), dim=1).repeat(3, 1)
    even_N = torch.zeros(6)
    assert loss_of(x_BD, x_BD, [0, 1, 2], [5, 5, 5], even_N) == pytest.approx(0.0, abs=1e-6)
    assert loss_of(x_BD, x_BD, [0, 1, 2], [1, 2, 0], even_N) == pytest.approx(np.log(2), abs=1e-5), "nor is it itself"
    assert loss_of(x_BD, x_BD, [0, 1, 2], [3, 4, 5], even_N) == pytest.approx(np.log(3), abs=1e-5)


def test_a_negative_that_is_drawn_often_counts_the_less() -> None:
    a_BD, b_BD = torch.eye(3)[[2, 0]], torch.eye(3)[[1, 0]]  # the first finds nothing; the second finds its own
    lost = [loss_of(a_BD, b_BD, [0, 1], [2, 3], torch.tensor([0.0, 0.0, 0.0, often])) for often in (-1.0, 0.0, 1.0)]
    assert lost == sorted(lost, reverse=True)
    assert lost[0] > lost[2] + 0.1
