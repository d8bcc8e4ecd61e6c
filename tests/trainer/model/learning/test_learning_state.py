"""The state of learning: whole or refused; and a run that goes on from one ends as if it had not been interrupted."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from tests.trainer.model.learning.short_runs import pretraining, small_decoder
from tests.trainer.worlds import corpus, stream
from trainer.model.decoder import Decoder
from trainer.model.learning.learning_state import DamagedStateError, LearningState


def kept_states(steps: int) -> tuple[Decoder, list[bytes]]:
    """A run of so many steps, and its state after each, as bytes."""
    kept: list[bytes] = []
    model, run = pretraining(corpus(), steps)
    run.run(keep=lambda state: kept.append(state.encode()), keep_every_s=0.0)
    return model, kept


def test_a_run_that_goes_on_from_what_it_kept_gives_the_same_weights() -> None:
    whole, kept = kept_states(7)  # more than one pass
    for place in (1, 4):
        model, run = pretraining(corpus(), 7)
        run.go_on_from(LearningState.decode(kept[place]))
        outcome = run.run()
        assert outcome.steps == 7
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), model.parameters(), strict=True))


def test_what_was_learned_from_may_have_changed_since() -> None:
    """A user who was forgotten shifts all rows: the pass begins anew, steps and weights stay."""
    _, kept = kept_states(4)
    model, run = pretraining(corpus([e for e in stream() if e.user_id != "user-3"]), 6)
    run.go_on_from(state := LearningState.decode(kept[-1]))
    assert all(torch.equal(state.weights[name], weight) for name, weight in model.state_dict().items())
    assert run.run().steps == 6


def test_time_that_was_spent_counts() -> None:
    _, kept = kept_states(2)
    state = LearningState.decode(kept[-1])
    spent = LearningState(**{**{name: getattr(state, name) for name in state.__slots__}, "seconds": 60.0})
    _, run = pretraining(corpus(), 1_000_000)
    run.go_on_from(spent)
    assert run.run().steps == 2


def test_a_state_is_decoded_as_it_was() -> None:
    _, kept = kept_states(3)
    state = LearningState.decode(kept[-1])
    assert (state.steps, len(state.losses_S3)) == (3, 3)
    assert state.encode() == kept[-1]
    assert all(rows.dtype == np.int64 for rows in state.left)


def test_damage_is_noticed() -> None:
    _, kept = kept_states(1)
    for damaged in (b"", kept[0][:-1], kept[0][:40], kept[0][:2000] + b"\0" + kept[0][2001:], msgspec.json.encode({})):
        with pytest.raises(DamagedStateError):
            LearningState.decode(damaged)


def test_a_state_of_another_model_is_refused() -> None:
    _, kept = kept_states(1)
    _, run = pretraining(corpus(), 2, model=small_decoder(layers=1))
    with pytest.raises(DamagedStateError, match="another model"):
        run.go_on_from(LearningState.decode(kept[0]))
