"""The item loss: what the definition says, and no negative that was not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.trainer.worlds import corpus, prior, vocabulary
from trainer.model.batches import Batch, Behaviour
from trainer.model.contrast import Contrast
from trainer.model.decoder import Decoder, Shape
from trainer.model.item_tower import TowerShape

OWN = 256


def model() -> Decoder:
    made = Decoder(Shape.of(vocabulary(), layers=1, width=32, heads=2, tower=TowerShape(own=OWN))).eval()
    torch.manual_seed(0)
    with torch.no_grad():  # as learning leaves it
        assert made.tower.own is not None
        torch.nn.init.normal_(made.tower.own, std=0.05)
    return made


def a_batch() -> Batch:
    world = corpus()
    every = np.ones(len(world), bool)
    behaviour = Behaviour(world, vocabulary(), every, np.ones(len(world)), 50, np.zeros(len(world), int))
    return next(behaviour.batches(60, np.random.default_rng(0)))


def read(made: Decoder, contrast: Contrast, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    told = contrast.inputs(made, batch.item_BT)
    assert told is not None
    states_BTD = made.trunk(torch.from_numpy(batch.tokens_BTK), items_BTD=told[0])
    asked_ND = made.ask(states_BTD[batch.row_N, batch.column_N], torch.from_numpy(batch.ask_NA))
    return asked_ND, told[1][batch.row_N, batch.column_N]


def loss_of(made: Decoder, contrast: Contrast, batch: Batch, seed: int = 0) -> torch.Tensor:
    with torch.inference_mode():
        asked_ND, taste_NO = read(made, contrast, batch)
        score_NK = contrast.scores(made, batch, asked_ND, taste_NO, contrast.draw(np.random.default_rng(seed)))
        return torch.logsumexp(score_NK, 1) - score_NK[:, 0]


def test_a_sample_estimates_the_loss_over_all_items() -> None:
    """Sampled softmax with log q taken back comes near the full softmax, the more the larger the sample."""
    world, made, batch = corpus(), model(), a_batch()
    contrast = Contrast.of(world, prior(), 1, np.ones(len(world), bool), OWN)
    with torch.inference_mode():
        query_NO, gain_N1 = made.tower.asks(*read(made, contrast, batch))
        places_IL = made.code_places(torch.from_numpy(world.codes_IL))
        content_IC = torch.from_numpy(world.content_IC.astype(np.float32))
        described_IO = made.tower.described(places_IL, content_IC, torch.from_numpy(contrast.own_I))
        out_IO = made.tower.out(described_IO, torch.zeros(len(world.item_ids), 64))
        score_NI = query_NO @ out_IO.T + gain_N1 * torch.from_numpy(contrast.prior_MI[:1].astype(np.float32))
        full_N = torch.nn.functional.cross_entropy(score_NI, torch.from_numpy(batch.item_N), reduction="none")
    sampled_N = torch.stack([loss_of(made, contrast, batch, seed) for seed in range(20)]).mean(0)
    assert torch.allclose(sampled_N, full_N, atol=0.1)


def test_what_was_not_uploaded_yet_is_no_negative() -> None:
    world, made, batch = corpus(), model(), a_batch()
    contrast = Contrast.of(world, prior(), 1, np.ones(len(world), bool), OWN)
    later = replace(contrast, uploaded_I=np.full(len(world.item_ids), np.inf))
    assert float(loss_of(made, contrast, batch).min()) > 0.5
    assert float(loss_of(made, later, batch).abs().max()) < 1e-6, "alone, the true item is certain"


def test_a_batch_without_items_is_told_nothing() -> None:
    world = corpus()
    contrast = Contrast.of(world, prior(), 1, np.ones(len(world), bool), OWN)
    assert contrast.inputs(model(), np.full((2, 3), -1)) is None


def test_an_empty_window_draws_evenly() -> None:
    world = corpus()
    contrast = Contrast.of(world, prior(), 1, np.zeros(len(world), bool), OWN)
    assert np.allclose(contrast.chance_I, 1 / len(world.item_ids))
