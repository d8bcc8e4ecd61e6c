"""A replay of people who are shown things, skip and finish them gives a ranker with all of its heads."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from store.events import Engagement, Upload
from store.settings import settings_from
from stream.demo.population import Census, Population
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.ranking.heads import CLICK, NEGATIVE


def replayed(uploads: list[Upload], events: list[Engagement]) -> Replay:
    encoder = text_encoder("static")
    settings = settings_from({"events": {"completed": {"watch": 0.6}}})
    options = ReplayOptions(sample=1, examples=1.0, baselines=False, within_limit=0)
    replay = Replay(uploads, events, encoder, options, settings)
    replay.run()
    return replay


@pytest.fixture(scope="module")
def replay() -> Replay:
    census = Census(users=250, first_items=250, uploads_per_hour=6.0, sessions_per_hour=120.0)
    stream = list(islice(Population(census), 4000))
    uploads = [event for event in stream if isinstance(event, Upload)]
    events = sorted((e for e in stream if isinstance(e, Engagement)), key=lambda event: event.occurred_at)
    return replayed(uploads, events)


def test_every_head_is_learned_and_says_what_comes(replay: Replay) -> None:
    ranker = replay.learner.refit()
    assert ranker.heads is not None
    assert ranker.heads.shown
    measured = ranker.heads.measured()
    assert set(measured) == {"click", "completion", "negative"}
    for name, one in measured.items():
        assert abs(one.predicted - one.observed) < 0.05 + 1.2 / one.outcomes**0.5, name  # 2.4 standard errors
        assert 0.0 < one.predicted < 1.0


def test_what_was_passed_by_is_a_negative_and_what_was_skipped_a_refusal(replay: Replay) -> None:
    feedback = replay.learner.feedback
    kinds = {kind: sum(event.kind == kind for event in replay.engagements) for kind in ("impression", "skip", "click")}
    x_RF, told_R4 = feedback.lines()
    assert len(x_RF) == len(told_R4) > 0.4 * kinds["impression"]  # the rest: what they have, and no candidates
    assert 0.1 < np.mean(told_R4[:, 1] > 0) < 0.9
    assert sum(act.negative for act in feedback.acts) > 0.3 * kinds["skip"] > 20
    p_BH = replay.learner.refit().probabilities(x_RF)
    clicked_R = told_R4[:, 1] > 0
    assert p_BH[clicked_R, CLICK].mean() > p_BH[~clicked_R, CLICK].mean()
    assert 0.0 < p_BH[:, NEGATIVE].mean() < 0.5
