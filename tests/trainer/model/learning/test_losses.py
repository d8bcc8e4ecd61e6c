"""What a learner hears from its teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.trainer.model.learning.short_runs import contrast_of, small_decoder
from tests.trainer.model.test_contrast import a_batch
from tests.trainer.worlds import corpus, prior, vocabulary
from trainer.model.decoder import Decoder
from trainer.model.learning.losses import Losses, Teacher, batch_loss
from trainer.model.learning.optimiser import optimiser_of
from trainer.model.vocabulary import train_vocabulary


def losses(model: Decoder, teacher: Teacher | None) -> Losses:
    """Of one batch, always the same draw."""
    return batch_loss(model.eval(), prior(), contrast_of(corpus()), a_batch(), np.random.default_rng(0), teacher)


def teacher() -> Teacher:
    """One that has other opinions than a new model."""
    model = small_decoder(seed=3).eval()
    torch.nn.init.normal_(model.code_norm.weight, mean=3.0)
    return Teacher(model, vocabulary().semantic_begin)


def test_a_model_that_answers_like_its_teacher_hears_nothing() -> None:
    taught_by = teacher()
    assert losses(taught_by.model, taught_by).taught.item() == pytest.approx(0.0, abs=1e-4)
    assert losses(small_decoder(), taught_by).taught.item() > 0.5
    assert losses(small_decoder(), None).taught.item() == 0.0


def test_what_a_teacher_says_moves_the_learner_to_it_and_not_itself() -> None:
    learner, taught_by = small_decoder(), teacher()
    optimiser = optimiser_of(learner, 0.0)
    heard = []
    for _ in range(4):
        optimiser.zero_grad()
        taught = losses(learner, taught_by).taught
        torch.autograd.backward(taught)
        optimiser.step()
        heard.append(taught.item())
    assert heard == sorted(heard, reverse=True)
    assert all(weight.grad is None for weight in taught_by.model.parameters())


def test_a_teacher_of_other_words_reads_the_same_codes() -> None:
    other = train_vocabulary(["something else entirely"] * 3, vocabulary().widths, 300)
    assert other.semantic_begin != vocabulary().semantic_begin
    own, theirs = ([v.task("home"), *v.semantic([2, 5, 1])] for v in (other, vocabulary()))
    assert Teacher(small_decoder(), other.semantic_begin).tokens(np.array(own)).tolist() == theirs
