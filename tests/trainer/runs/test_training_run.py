"""A run, from a window to a judged folder: repeatable, bound to its codebook, continued by the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.checkpoints import CheckpointFolder, verify
from store.settings import Codebook, Events, Model, Settings, Training
from tests.trainer.worlds import WEIGHTS, cards, logged, stream
from trainer.checkpoint_loading import load_checkpoint
from trainer.model.learning.optimiser import MOMENTS_FILE, load_moments
from trainer.runs.causes.codebook_choice import CodebookRequest
from trainer.runs.log_window import Window
from trainer.runs.starting.span import NotEnoughDataError
from trainer.runs.training_run import Result, offsets_of, run_training
from trainer.semantic_ids.codebook import ZERO_VERSION

EVENTS = logged(stream(users=120, each=8))
ENDS = {p: max(e.offset for e in EVENTS if e.partition == p) + 1 for p in (0, 1)}


def settings(learn_after: int = 10_000, steps: int = 60, gate: int = 150, keep_state_s: float = 60.0) -> Settings:
    return Settings(
        events=Events(weights=WEIGHTS),
        model=Model(layers=1, width=32, heads=2, text_vocabulary=320),
        codebook=Codebook(width=8, learn_after_items=learn_after),
        training=Training(
            min_engagements=100,
            gate_engagements=gate,
            max_steps=steps,
            epochs=1000,
            max_seconds=60,
            gate_floor=0.1,
            keep_state_s=keep_state_s,
        ),
    )


def window(begin: dict[int, int], end: dict[int, int]) -> Window:
    return Window(cards("elsewhere"), {}, [e for e in EVENTS if e.offset < end[e.partition]], begin, end)


def run(
    folder: Path,
    chosen: Settings,
    *,
    parent: str | None = None,
    part: float = 1.0,
    codebook_request: CodebookRequest = "",
) -> Result:
    checkpoints = CheckpointFolder(folder)
    loaded = load_checkpoint(checkpoints, parent) if parent else None
    topic = chosen.topic("engagements")
    begin = offsets_of(loaded.manifest, topic) if loaded else {0: 0, 1: 0}
    end = {p: round(part * offset) for p, offset in ENDS.items()}
    return run_training(window(begin, end), chosen, checkpoints, loaded, lambda _step, _done: None, codebook_request)


def test_a_run_leaves_a_whole_folder_that_loads_and_was_judged(tmp_path: Path) -> None:
    result = run(tmp_path, settings())
    manifest = verify(tmp_path / result.manifest.checkpoint)
    assert manifest.verdict == "passed"
    assert manifest.codebook == ZERO_VERSION
    assert manifest.metrics["candidate.overall.hr@10"] > 0.2
    assert {"model.safetensors", "prior.safetensors", "tokenizer.json"} < set(manifest.files)
    loaded = load_checkpoint(CheckpointFolder(tmp_path), manifest.checkpoint)
    assert loaded.codebook.version == manifest.codebook
    assert manifest.occurred_from < manifest.occurred_until < max(e.event.occurred_at for e in EVENTS)


def test_the_same_window_gives_the_same_files(tmp_path: Path) -> None:
    a, b = (run(tmp_path / name, settings(steps=10)).manifest.files for name in "ab")
    dated = f"codebook/{ZERO_VERSION}/codebook.json"
    assert {**a, dated: ""} == {**b, dated: ""}


def test_enough_items_bring_a_learned_codebook_bound_to_the_checkpoint_and_kept_by_the_next(tmp_path: Path) -> None:
    first = run(tmp_path, settings(learn_after=10_000, steps=30), part=0.6).manifest
    second = run(tmp_path, settings(learn_after=20, steps=30), parent=first.checkpoint, part=0.8).manifest
    assert first.codebook == ZERO_VERSION < second.codebook
    assert f"codebook/{second.codebook}/codebook.json" in second.files
    third = run(tmp_path, settings(learn_after=20, steps=30), parent=second.checkpoint).manifest
    assert third.codebook == second.codebook
    assert third.verdict == "passed"


def test_the_next_run_goes_on_with_the_optimiser_of_the_one_before(tmp_path: Path) -> None:
    first = run(tmp_path, settings(steps=3, gate=30), part=0.6).manifest
    second = run(tmp_path, settings(steps=3, gate=30), parent=first.checkpoint).manifest
    assert MOMENTS_FILE in second.files
    assert second.metrics["optimiser.bytes"] == (tmp_path / second.checkpoint / MOMENTS_FILE).stat().st_size
    known = [load_moments(tmp_path / one.checkpoint)["step/norm.weight"] for one in (first, second)]
    assert [int(steps) for steps in known] == [3, 6]


def test_too_little_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="missing"):
        run(tmp_path, settings(), part=0.05)
    assert not list(tmp_path.iterdir())


def test_a_log_without_news_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="there is nothing new to learn from: no new engagements of at least"):
        run(tmp_path, settings(), part=0.0)


@pytest.mark.long
def test_a_codebook_is_refreshed_on_a_quiet_log_again_and_again(tmp_path: Path) -> None:
    chosen = settings(learn_after=20, steps=20)
    result = run(tmp_path, chosen)
    first = result.manifest
    for _ in range(2):
        before, result = (
            result.manifest,
            run(tmp_path, chosen, parent=result.manifest.checkpoint, codebook_request="refresh"),
        )
        assert before.codebook < result.manifest.codebook
        assert "learned from" not in "; ".join(result.judgement.reasons)
        assert {topic: reached.end for topic, reached in result.manifest.log.items()} == {
            topic: reached.end for topic, reached in first.log.items()
        }, "what the gate held out is still untouched"
    assert result.manifest.metrics["serving.overall.hr@10"] > 0
