"""When `[model]` asks for another form, a new lineage begins, which its parent teaches."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from store.checkpoints import CheckpointFolder
from store.settings import Model, Settings
from tests.trainer.runs.test_training_run import run, settings
from trainer.checkpoint_loading import LoadedCheckpoint, load_checkpoint
from trainer.runs.starting.lineage import changes, form_of, lineage_of, told


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoadedCheckpoint]:
    folder = tmp_path_factory.mktemp("parent")
    made = run(folder, settings(steps=10, gate=40), part=0.6).manifest
    return folder, load_checkpoint(CheckpointFolder(folder), made.checkpoint)


def with_model(**changed: int) -> Settings:
    chosen = settings(steps=10, gate=40)
    return msgspec.structs.replace(chosen, model=msgspec.structs.replace(chosen.model, **changed))


def test_what_changes_is_told(parent: tuple[Path, LoadedCheckpoint]) -> None:
    loaded = parent[1]
    assert changes(loaded, settings().model) == {}
    assert changes(loaded, with_model(history=7).model) == {}
    changed = changes(loaded, with_model(layers=2, text_vocabulary=400).model)
    assert changed == {"layers": (1, 2), "text_vocabulary": (320, 400)}
    assert told(loaded, changed) == (
        f"a new lineage (layers 1 → 2, text_vocabulary 320 → 400), taught by {loaded.manifest.checkpoint}"
    )
    assert (told(loaded, {}), told(None, {}), changes(None, Model())) == ("", "", {})


def test_a_lineage_that_is_older_than_its_name_is_continued(parent: tuple[Path, LoadedCheckpoint]) -> None:
    manifest = msgspec.structs.replace(parent[1].manifest, form={}, lineage="")
    old = LoadedCheckpoint(manifest, parent[1].generator, parent[1].codebook)
    assert changes(old, with_model(text_vocabulary=400).model) == {}
    assert lineage_of("next", old, {}) == manifest.checkpoint
    assert lineage_of("next", parent[1], {"layers": (1, 2)}) == "next"


def test_the_next_run_begins_a_lineage_of_the_form_that_the_settings_ask_for(
    parent: tuple[Path, LoadedCheckpoint],
) -> None:
    folder, loaded = parent
    chosen = with_model(layers=2, width=48, text_vocabulary=400, item_rows=64)
    begun = run(folder, chosen, parent=loaded.manifest.checkpoint).manifest
    model = load_checkpoint(CheckpointFolder(folder), begun.checkpoint).generator.model
    assert (model.shape.layers, model.shape.width, model.shape.tower.own) == (2, 48, 64)
    assert begun.form == form_of(chosen.model)
    assert (begun.parent, begun.teacher, begun.lineage) == (loaded.manifest.checkpoint,) * 2 + (begun.checkpoint,)
    assert begun.verdict != "pending"
    assert "serving.loss" in begun.metrics, "it was compared with its teacher, as always"
    assert any("a new lineage" in reason for reason in begun.reasons)
    assert sum(reached.begin for reached in begun.log.values()) == 0, "it learns from what the parent has, too"


def test_within_a_lineage_nothing_is_taught(parent: tuple[Path, LoadedCheckpoint]) -> None:
    folder, loaded = parent
    next_ = run(folder, settings(steps=2, gate=30), parent=loaded.manifest.checkpoint).manifest
    assert (next_.teacher, next_.lineage) == (None, loaded.manifest.lineage)
    assert loaded.manifest.lineage == loaded.manifest.checkpoint
