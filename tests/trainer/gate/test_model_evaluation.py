"""A model's own answers: of every engagement, the same whatever the batches."""

from __future__ import annotations

import numpy as np

from tests.trainer.worlds import corpus, prior, vocabulary
from trainer.gate.held_out import HeldOutEvents
from trainer.gate.model_evaluation import best_of, evaluate_model
from trainer.model.beam_search import Generator
from trainer.model.corpus import at_or_after, cut_offsets
from trainer.model.decoder import Decoder, Shape


def test_a_model_is_evaluated_and_popular_beside_it() -> None:
    world, v = corpus(), vocabulary()
    held_E = at_or_after(world, cut_offsets(world, 300))
    held_out = HeldOutEvents.of(world, held_E, limit=60, seed=0)
    made = Generator(Decoder(Shape.of(v, layers=1, width=32, heads=2)).eval(), v, prior())
    beats: list[float] = []
    answers = evaluate_model(made, held_out, world.codes_IL, heartbeat=beats.append)
    result = answers.scores
    assert len(result.hit_N) == len(held_out.event_N)
    assert ((result.gain_N > 0) == (result.hit_N > 0)).all()
    assert beats == sorted(beats)
    assert len(held_out.popular().hit_N) == len(held_out.event_N)
    alone = evaluate_model(made, held_out, world.codes_IL, batch=1).scores
    assert answers.invalid == 0.0
    assert 0 < answers.loss < 20
    assert answers.answer_ms > 0
    assert np.array_equal(alone.hit_N, result.hit_N)


def test_what_is_no_number_is_never_among_the_best() -> None:
    assert best_of(np.array([np.nan, 2.0, np.inf, 3.0]), 3).tolist() == [3, 1]
    assert best_of(np.array([np.nan, np.nan]), 3).tolist() == []
