"""The residual-quantised encoder: equal inputs give equal weights; behaviour draws pairs together; depth tells more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.semantic_ids.alignment import Pairs, pairs_of
from trainer.semantic_ids.rqvae import QuantisedEncoder, Standardised, train_encoder
from trainer.semantic_ids.word_map import WORDS, rarity, weighted

ITEMS, WIDTH, WIDTHS = 48, 12, (6, 6, 6)
NO_PAIRS = pairs_of([])
ALL = np.arange(ITEMS)


def content(items_M: np.ndarray = ALL, width: int = WIDTH, seed: int = 0) -> Standardised:
    p_MC = np.random.default_rng(seed).standard_normal((len(items_M), width))
    return Standardised(items_M, p_MC / np.linalg.norm(p_MC, axis=1, keepdims=True))


def audiences() -> Pairs:
    """The same people take items of the same remainder."""
    return pairs_of([np.random.default_rng(user).permutation(ALL[user % 4 :: 4]) for user in range(40)])


def trained(pairs: Pairs = NO_PAIRS, steps: int = 40, seed: int = 3) -> QuantisedEncoder:
    return train_encoder({"text": content()}, ITEMS, WIDTHS, pairs, share=0.5, steps=steps, seed=seed).eval()


@torch.no_grad()
def rows(model: QuantisedEncoder) -> list[torch.Tensor]:
    return list(model.eval()(ALL))


def test_equal_inputs_and_seed_give_equal_weights_and_another_seed_others() -> None:
    first, again, other = (trained(audiences(), 4, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_each_further_code_comes_nearer_to_the_row() -> None:
    model = trained()
    x_BD = rows(model)[2]
    with torch.no_grad():
        error = [float((model.quantise(x_BD, depth)[0] - x_BD).square().sum(1).mean()) for depth in range(4)]
        points, codes = model.quantise(x_BD, len(WIDTHS))
    assert error[0] == pytest.approx(1.0, abs=1e-5)
    assert error[1] < 0.8
    assert error == sorted(error, reverse=True)
    assert [len(code_B.unique()) for code_B in codes] == list(WIDTHS), "no code is dead"
    at = sum(level[code_B] for level, code_B in zip(model.codes, codes, strict=True))
    torch.testing.assert_close(points, at)


def test_behaviour_decides_which_of_contents_likenesses_count() -> None:
    """Content is one of two colours and one of two shapes; whose audience is one of colour has colours together."""
    colour, shape = ALL % 2, ALL // 2 % 2
    p_NC = np.concatenate([np.eye(2)[colour], np.eye(2)[shape], 0.1 * content().p_MC], axis=1)
    seen = {"text": Standardised(ALL, p_NC / np.linalg.norm(p_NC, axis=1, keepdims=True))}

    def distances(kind: np.ndarray) -> tuple[float, float]:
        """From the first item to one of its colour, and to one of its shape."""
        pairs = pairs_of([np.random.default_rng(user).permutation(ALL[kind == user % 2]) for user in range(20)])
        aligned_BA = rows(train_encoder(seen, ITEMS, (4,), pairs, share=0.5, steps=20, seed=0))[1]
        return 1 - float(aligned_BA[0] @ aligned_BA[2]), 1 - float(aligned_BA[0] @ aligned_BA[1])

    to_colour, to_shape = distances(colour)
    assert to_colour < to_shape / 2
    to_colour, to_shape = distances(shape)
    assert to_shape < to_colour / 2


def test_rows_have_length_one_and_items_without_content_none() -> None:
    half, other = np.arange(0, 20), np.arange(10, 30)  # some have one modality, some the other, some both, some none
    modalities = {"text": content(half), "visual": content(other, width=5, seed=1)}
    content_BC, aligned_BA, x_BD = rows(QuantisedEncoder(modalities, ITEMS, WIDTHS, share=0.3))
    for part_BD in (aligned_BA, x_BD):
        np.testing.assert_allclose(part_BD.norm(dim=1), ALL < 30, atol=1e-5)
    assert not content_BC[20:30, 5:].any(), "the narrower modality is padded"
    assert not content_BC[30:].any()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_decides_between_content_and_alignment(share: float) -> None:
    content_BC, aligned_BA, x_BD = rows(QuantisedEncoder({"text": content()}, ITEMS, WIDTHS, share=share))
    torch.testing.assert_close(x_BD[:, :WIDTH], content_BC * (1 - share))
    torch.testing.assert_close(x_BD[:, WIDTH:], aligned_BA * share)


def test_words_tell_two_items_of_one_content_apart_by_their_audience() -> None:
    alike = Standardised(ALL, np.ones((ITEMS, WIDTH)) / WIDTH**0.5)
    parts = [{WORDS: np.array([number % 4], np.uint16)} for number in range(ITEMS)]
    words = weighted(parts, rarity(parts))
    model = train_encoder({"text": alike}, ITEMS, (4,), audiences(), share=0.5, steps=30, seed=0, words=words)
    aligned_BA = rows(model)[1]
    near = aligned_BA @ aligned_BA[0]
    assert near[4] == pytest.approx(1.0, abs=1e-4)
    assert near[1:4].max() < 0.8


def test_progress_is_told_and_ends_at_one() -> None:
    told: list[tuple[str, float]] = []
    modalities = {"text": content()}
    train_encoder(
        modalities, ITEMS, WIDTHS, NO_PAIRS, share=0.5, steps=20, seed=0, progress=lambda *one: told.append(one)
    )
    assert told == [("encoder", 0.5), ("encoder", 1.0)]
