"""The optimiser's moments: kept, gone on with, and begun anew where a weight has another form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.trainer.model.learning.short_runs import pretraining, small_decoder
from tests.trainer.worlds import corpus
from trainer.model.decoder import Decoder
from trainer.model.learning.optimiser import (
    Moments,
    give_moments,
    load_moments,
    moments_of,
    optimiser_of,
    save_moments,
    without,
)


@pytest.fixture(scope="module")
def known() -> tuple[Decoder, Moments]:
    model, run = pretraining(corpus(), 12)
    run.run()
    return model, run.moments()


def moved(model: Decoder, moments: Moments) -> float:
    """How far one step of learning takes the deepest weights, in learning rates."""
    begun = small_decoder()
    begun.load_state_dict(model.state_dict())
    begun, run = pretraining(corpus(), 1, seed=5, model=begun, moments=moments)
    run.run()
    before, after = (dict(one.named_parameters())["blocks.1.feed.up.weight"].detach() for one in (model, begun))
    return float((after - before).abs().mean()) / 2e-3


def test_what_is_saved_is_loaded(known: tuple[Decoder, Moments], tmp_path: Path) -> None:
    save_moments(known[1], tmp_path)
    loaded = load_moments(tmp_path)
    assert loaded.keys() == known[1].keys()
    assert all(torch.equal(loaded[name], kept) for name, kept in known[1].items())


def test_a_folder_of_before_has_none(tmp_path: Path) -> None:
    assert load_moments(tmp_path) == {}


def test_every_weight_goes_on(known: tuple[Decoder, Moments]) -> None:
    model, moments = known
    optimiser = optimiser_of(model, 0.05)
    assert give_moments(model, optimiser, moments) == 12
    again = moments_of(model, optimiser)
    assert {name for name, _ in model.named_parameters()} == {key.partition("/")[2] for key in again}
    assert all(torch.equal(again[name], kept) for name, kept in moments.items())


def test_a_run_that_goes_on_makes_whole_steps_at_once_and_one_without_moments_warms_up(
    known: tuple[Decoder, Moments],
) -> None:
    model, moments = known
    assert moved(model, moments) > 0.2
    assert moved(model, {}) < 0.11  # a first step of AdamW is as long as the rate, which is a tenth of the whole


def test_weights_of_another_form_begin_anew(known: tuple[Decoder, Moments]) -> None:
    wider = small_decoder(layers=3)
    optimiser = optimiser_of(wider, 0.05)
    assert give_moments(wider, optimiser, known[1]) == 0
    assert wider.norm.weight in optimiser.state
    assert dict(wider.named_parameters())["blocks.2.feed.up.weight"] not in optimiser.state


def test_some_can_be_left_out(known: tuple[Decoder, Moments]) -> None:
    left = without(known[1], frozenset({"code_bias"}))
    assert known[1].keys() - left.keys() == {"exp_avg/code_bias", "exp_avg_sq/code_bias", "step/code_bias"}
    assert give_moments(known[0], optimiser_of(known[0], 0.05), left) == 0
