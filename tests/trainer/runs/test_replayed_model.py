"""A model in a replay: trained by real runs, swapped in later, asked only about what it has not learned from."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from store.events import Upload
from store.requests import Request
from store.settings import Codebook, Events, Model, Settings, Training
from tests.trainer.worlds import NOW, WEIGHTS, cards, stream
from trainer.content.encoders import text_encoder
from trainer.evaluation.model_report import model_report
from trainer.evaluation.prequential import Replay, ReplayOptions, ReplayResult
from trainer.runs.replayed_model import ModelOptions, ReplayedModel

SETTINGS = Settings(
    events=Events(weights=WEIGHTS),
    model=Model(layers=1, width=32, heads=2, text_vocabulary=320),
    codebook=Codebook(width=8, learn_after_items=20),
    training=Training(min_engagements=50, gate_engagements=60, max_steps=25, epochs=1000, max_seconds=1e6),
)
OPTIONS = ModelOptions(every=400, first=300, swap_after=0.25, ungated=True)


class World:
    """One replay with a model."""

    def __init__(self, folder: Path) -> None:
        self.events = stream(users=100, each=12)
        uploads = [Upload(item_id=one.item_id, uploaded_at=NOW - 60, title=one.title) for one in cards().values()]
        self.model: ReplayedModel | None = None
        self.replay = Replay(
            uploads,
            self.events,
            text_encoder("static"),
            ReplayOptions(sample=200, baselines=False),
            SETTINGS,
            model=lambda recommender: ReplayedModel(recommender, SETTINGS, OPTIONS, folder),
        )
        self.result: ReplayResult = self.replay.run()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("replayed"))


def test_runs_come_every_so_many_engagements_and_models_serve_a_while_later(world: World) -> None:
    record = world.result.model
    assert [run["at"] for run in record.runs] == [300, 700, 1100]
    first_served = next(one.place for one in record.outcomes if one.served)
    assert first_served >= 400, "a quarter of the engagements between runs pass before a model serves"
    assert all(one.behind > 0 for one in record.outcomes if one.served)
    assert max(one.behind for one in record.outcomes if one.served) < 400 + 200 + 100


def test_every_evaluated_engagement_is_judged_with_and_without_the_model(world: World) -> None:
    result = world.result
    assert [one.place for one in result.model.outcomes] == [one.place for one in result.evaluated]
    told = model_report(result.model, [one.rank for one in result.evaluated], [9] * len(result.evaluated), 10)
    assert told["overall"]["alone_hr@10"] > 0.5
    assert told["overall"]["without_hr@10"] is not None
    assert told["train_cpu_s"] > 0


def test_items_carry_the_codes_of_the_codebook_that_serves(world: World) -> None:
    recommender = world.replay.recommender
    version = recommender.serving.codebook.version
    assert version.startswith("codebook-000001"), "the first run learned one"
    assert {card.codebook for card in recommender.catalog.cards if card is not None} == {version}
    handle = recommender.catalog.handles["cats-1"]
    card = recommender.catalog.cards[handle]
    assert card is not None
    assert recommender.serving.semantic_id(handle) == card.codes


def test_after_its_time_an_answer_is_made_without_the_model_and_says_so(world: World) -> None:
    recommender, request = world.replay.recommender, Request(user_id="nobody", k=3, within_ms=5)
    asked = recommender.serving.asked
    late = recommender.answer(request, None, due_s=time.monotonic() - 1.0).answer
    assert ([note.reason for note in late.notes], recommender.serving.asked, len(late.items)) == (["late"], asked, 3)
    in_time = recommender.answer(request, None, due_s=time.monotonic() + 60.0).answer
    assert (in_time.notes, recommender.serving.asked) == ([], asked + 1)


def test_what_the_ranker_sees_of_the_score_is_a_log_probability(world: World) -> None:
    """So it means the same in every request, and of every checkpoint."""
    recommender = world.replay.recommender
    for user_id in ("user-1", "nobody"):
        ranking = recommender.rank(Request(user_id=user_id), None, ordered=False)
        assert ranking.model is not None
        log_N = ranking.model.columns["model_score"][ranking.allowed_N]
        assert np.exp(log_N).sum() == pytest.approx(1.0, abs=1e-3)
        assert np.argmax(log_N) == np.argmax(ranking.model.score_N[ranking.allowed_N])


def test_the_gate_asked_the_system(world: World) -> None:
    assert any("gain.none.overall.nats" in run for run in world.result.model.runs)
