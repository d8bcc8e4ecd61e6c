"""Judging: models that were really trained, and broken on purpose. The ranker of these examples knows nothing, so what
the system gains is what the model brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from store.checkpoints import CheckpointFolder
from store.log import LoggedEngagement
from tests.trainer.runs.test_training_run import ENDS, EVENTS, settings, window
from tests.trainer.worlds import NOW, PER_TOPIC, TOPICS, WEIGHTS, cards
from trainer.checkpoint_loading import LoadedCheckpoint, load_checkpoint
from trainer.gate.judging import Asked, Judged, judge_candidate
from trainer.model.corpus import Corpus, at_or_after, corpus_of, cut_offsets
from trainer.model.decoder import Decoder
from trainer.ranking.columns import NAMES
from trainer.ranking.example import Example
from trainer.runs.training_run import run_training

ITEMS = [f"{topic}-{number}" for topic in TOPICS for number in range(PER_TOPIC)]


def example(logged: LoggedEngagement) -> Example:
    event = logged.event
    items = [event.item_id, *(item for item in ITEMS if item != event.item_id)]
    return Example(
        user_id=event.user_id,
        item_id=event.item_id,
        task="home",
        kind=event.kind,
        occurred_at=event.occurred_at,
        weight=1.0,
        rank=0,
        candidates=len(items),
        source="popular",
        positives=9,
        age_s=event.occurred_at - NOW,
        history=3,
        columns=len(NAMES),
        cold_negatives=0,
        items=items,
        features=np.zeros((len(items), len(NAMES)), "<f2").tobytes(),
    )


EXAMPLES = sorted(map(example, EVENTS), key=lambda one: one.occurred_at)


def trained(folder: Path, shuffled: bool = False) -> tuple[LoadedCheckpoint, list[str], str]:
    """A checkpoint by a real run; `shuffled`: from engagements whose items were dealt out anew."""
    given = window({0: 0, 1: 0}, ENDS)
    if shuffled:
        dealt = np.random.default_rng(0).permutation([one.event.item_id for one in EVENTS]).tolist()
        events = [
            replace(one, event=msgspec.structs.replace(one.event, item_id=item))
            for one, item in zip(EVENTS, dealt, strict=True)
        ]
        given = replace(given, engagements=events)
    checkpoints = CheckpointFolder(folder)
    result = run_training(given, settings(steps=80), checkpoints, None, lambda _step, _done: None, examples=EXAMPLES)
    loaded = load_checkpoint(checkpoints, result.manifest.checkpoint)
    return loaded, result.manifest.reasons, result.manifest.verdict


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedCheckpoint, list[str], str]:
    return trained(tmp_path_factory.mktemp("good"))


def world_of(loaded: LoadedCheckpoint) -> Corpus:
    listed = cards("elsewhere")
    made = corpus_of(EVENTS, listed, WEIGHTS)
    codes_IL = loaded.codebook.assign_parts([listed[item_id].parts() for item_id in made.item_ids])
    return replace(made, codes_IL=np.asarray(codes_IL, np.int64))


def judged(candidate: Asked, serving: Asked | None, world: Corpus) -> Judged:
    held_E = at_or_after(world, cut_offsets(world, 150))
    return judge_candidate(candidate, serving, world, held_E, EXAMPLES, settings().training, history=20)


def test_a_model_that_helps_passes_and_says_by_how_much(good: tuple[LoadedCheckpoint, list[str], str]) -> None:
    loaded, reasons, verdict = good
    assert verdict == "passed", reasons
    assert "the system gains" in reasons[0]
    assert reasons[1] == "decided by what the system gains"
    metrics = loaded.manifest.metrics
    assert metrics["gain.none.overall.nats.low"] > 0.1
    assert metrics["gain.none.overall.events"] > 50
    assert metrics["candidate.invalid"] == 0.0
    assert metrics["candidate.answer_ms"] > 0


def test_a_model_of_shuffled_histories_is_refused(
    good: tuple[LoadedCheckpoint, list[str], str], tmp_path: Path
) -> None:
    """Beside the right one: its likeness of content, which no history taught it, still tells a ranker that knows
    nothing something."""
    loaded, world = trained(tmp_path, shuffled=True)[0], world_of(good[0])
    shuffled = Asked(loaded.generator, world_of(loaded).codes_IL)
    verdict = judged(shuffled, Asked(good[0].generator, world.codes_IL), world).judgement
    assert not verdict.passed
    assert "worse than the serving checkpoint" in verdict.reasons[0]


def test_shuffled_weights_are_refused(good: tuple[LoadedCheckpoint, list[str], str]) -> None:
    """Beside the right ones: what is left of a tower whose weights are shuffled still tells items apart by content, and
    the ranker of these examples does not know that either."""
    loaded = good[0]
    world = world_of(loaded)
    broken = Decoder(loaded.generator.model.shape).eval()
    torch.manual_seed(0)
    broken.load_state_dict(
        {
            name: tensor.flatten()[torch.randperm(tensor.numel())].view(tensor.shape)
            for name, tensor in loaded.generator.model.state_dict().items()
        }
    )
    shuffled = Asked(replace(loaded.generator, model=broken), world.codes_IL)
    verdict = judged(shuffled, Asked(loaded.generator, world.codes_IL), world).judgement
    assert not verdict.passed
    assert "worse than the serving checkpoint" in verdict.reasons[0]


def test_weights_that_are_no_numbers_are_refused(good: tuple[LoadedCheckpoint, list[str], str]) -> None:
    loaded = good[0]
    world = world_of(loaded)
    broken = Decoder(loaded.generator.model.shape).eval()
    broken.load_state_dict(loaded.generator.model.state_dict())
    with torch.no_grad():
        broken.norm.weight.fill_(float("nan"))
    verdict = judged(Asked(replace(loaded.generator, model=broken), world.codes_IL), None, world).judgement
    assert not verdict.passed
    assert "no number" in verdict.reasons[0]


def test_a_wrong_codebook_is_refused_beside_the_right_one(good: tuple[LoadedCheckpoint, list[str], str]) -> None:
    loaded = good[0]
    world = world_of(loaded)
    right = Asked(loaded.generator, world.codes_IL)
    wrong = Asked(loaded.generator, np.random.default_rng(0).permutation(world.codes_IL))
    assert judged(right, right, world).judgement.passed
    verdict = judged(wrong, right, world).judgement
    assert not verdict.passed
    assert "worse than the serving checkpoint" in verdict.reasons[0]


def test_without_examples_the_models_alone_decide(good: tuple[LoadedCheckpoint, list[str], str]) -> None:
    loaded = good[0]
    world = world_of(loaded)
    held_E = at_or_after(world, cut_offsets(world, 150))
    asked = Asked(loaded.generator, world.codes_IL)
    verdict = judge_candidate(asked, None, world, held_E, (), settings().training, history=20)
    assert "too few ranking examples" in verdict.judgement.rule
    assert verdict.metrics()["candidate.loss"] > 0
