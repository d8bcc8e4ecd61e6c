"""A model's own answers: what it hits by itself, and how sure it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trainer.runs.test_training_run import run, settings
from tests.trainer.walkers import Walkers, reversed_checkpoint
from trainer.own_answers import SHOWN, OwnAnswer, answer_of_popularity, own_answer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("made")
    return folder, run(folder, settings(steps=30, gate=30)).manifest.checkpoint


def hits(answers: list[OwnAnswer]) -> float:
    return float(np.mean([one.hit for one in answers]))


def test_a_model_is_asked_what_it_would_have_shown(made: tuple[Path, str]) -> None:
    folder, checkpoint = made
    walkers = Walkers()
    good = walkers.bundle(folder, checkpoint)
    bad = walkers.bundle(folder, reversed_checkpoint(folder, checkpoint, "reversed").name)
    walkers.recommender.exchange(good)
    own, other, popular = [], [], []
    for ranked in walkers.ranked(8):
        handle = walkers.recommender.catalog.handles[ranked.example.item_id]
        own.append(own_answer(good, ranked.ranking, handle))
        other.append(own_answer(bad, ranked.ranking, handle))
        popular.append(answer_of_popularity(good.popularity, ranked.ranking, handle))
    assert None not in own
    assert None not in other
    assert hits(own) > 0.7 > 0.3 > hits(other)  # type: ignore[arg-type]
    assert abs(hits(own) - np.mean([one.expected for one in own if one is not None])) < 0.3  # type: ignore[arg-type]
    assert np.mean([one.expected for one in other if one is not None]) > 0.8, "it is sure, and wrong"
    assert np.mean([bool(one.written) for one in own if one is not None]) > 0.5
    assert all(0.0 < one.expected <= 1.0 for one in popular)
    assert all(one.written is None for one in popular)


def test_of_as_many_items_as_are_shown_one_is_hit_for_sure(made: tuple[Path, str]) -> None:
    walkers = Walkers()
    walkers.recommender.exchange(walkers.bundle(*made))
    ranked = next(walkers.ranked(1))
    ranked.ranking.allowed_N[SHOWN:] = False
    assert answer_of_popularity(walkers.recommender.serving.popularity, ranked.ranking, 3) == OwnAnswer(
        True, pytest.approx(1.0)
    )
    ranked.ranking.allowed_N[:] = False
    assert answer_of_popularity(walkers.recommender.serving.popularity, ranked.ranking, 3) == OwnAnswer(False, 0.0)


def test_without_a_model_there_is_no_answer() -> None:
    walkers = Walkers()
    assert own_answer(walkers.recommender.serving, next(walkers.ranked(1)).ranking, 0) is None
