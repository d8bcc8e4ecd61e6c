"""Worker, replay and backfill have equal rules from equal settings, and nothing but `trainer.rules` makes any."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import numpy as np
import pytest

from store.events import Limits
from store.histories import HistoryRules
from store.settings import Settings, settings_from
from stream.worker import Worker
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.ranking.impressions import ImpressionRules
from trainer.ranking.learner import RankerRules
from trainer.recommender import RecommenderRules
from trainer.rules import (
    embedding_rules,
    history_rules,
    impression_rules,
    item_rules,
    ranker_rules,
    recommender_rules,
    vector_rules,
)

ROOT = Path(__file__).parent.parent.parent
MADE_HERE = {
    *("HistoryRules", "EmbeddingRules", "ItemRules", "VectorRules", "SpectralRules", "CandidateRules"),
    *("RecommenderRules", "RankerRules", "ImpressionRules", "Limits"),
}
OTHERS = {"store/settings/tables.py", "store/settings/learning_tables.py", "trainer/rules.py", "bench/embeddings.py"}
"""Where rules may be made: of settings, and for the embedding store alone."""


def changed(tmp_path: Path) -> Settings:
    return settings_from(
        {
            "data_dir": str(tmp_path),
            "kafka": {"partitions": 3},
            "events": {"weights": {"click": 2.0}, "completed": {"watch": 0.5}},
            "store": {"history_length": 64, "context_length": 7, "vector_admit_after": 3, "cached_vectors": 999},
            "serving": {"beams": 5, "explore_share": 0.3, "repeats": True, "impression_window_s": 60.0},
            "training": {"threads": 2},
        }
    )


def makers(file: Path) -> list[str]:
    """Where a file makes rules, but for the defaults of arguments and fields."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    defaults = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.arguments)
        for default in (*node.defaults, *(one for one in node.kw_defaults if one is not None))
        for inner in ast.walk(default)
    }
    return [
        f"{file.relative_to(ROOT)}:{node.lineno} makes {node.func.id}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in MADE_HERE and id(node) not in defaults
    ]


def test_rules_are_made_in_one_place() -> None:
    files = [file for layer in ("store", "trainer", "stream", "bench") for file in (ROOT / layer).rglob("*.py")]
    others = [file for file in files if file.relative_to(ROOT).as_posix() not in OTHERS]
    made = [place for file in others for place in makers(file)]
    assert not made, "\n".join(made)


def test_worker_and_replay_have_equal_rules(tmp_path: Path) -> None:
    settings = changed(tmp_path)
    worker, replay = Worker(settings), Replay([], [], text_encoder("static"), ReplayOptions(), settings)
    assert worker.scorer.recommender.rules == replay.recommender.rules == recommender_rules(settings)
    assert replay.learner.rules == ranker_rules(settings)
    assert worker.scorer.recommender.serving.codebook.version == replay.recommender.serving.codebook.version
    worker.scorer.close()


@pytest.mark.parametrize(
    "of",
    [history_rules, recommender_rules, embedding_rules, ranker_rules, impression_rules],
    ids=lambda of: of.__name__,
)
def test_settings_reach_the_rules(of: object, tmp_path: Path) -> None:
    assert callable(of)
    settings = changed(tmp_path)
    assert of(settings) != of(Settings())
    assert of(settings) == of(msgspec.structs.replace(settings))


def test_a_worker_shares_its_memory_of_vectors_among_its_partitions(tmp_path: Path) -> None:
    rules = embedding_rules(changed(tmp_path))
    assert (rules.width, rules.admit_after, rules.cached_rows) == (vector_rules(Settings()).width, 3, 333)
    assert np.isinf(rules.horizon_s)
    assert item_rules(Settings()) == recommender_rules(Settings()).item


def test_the_defaults_of_the_settings_are_those_of_the_rules() -> None:
    settings = Settings()
    assert recommender_rules(settings) == RecommenderRules()
    assert ranker_rules(settings) == RankerRules(completed=settings.events.completed)
    assert impression_rules(settings) == ImpressionRules(completed=settings.events.completed)
    assert history_rules(settings) == HistoryRules(settings.events.weights)
    assert settings.event_limits() == Limits(widths={})
