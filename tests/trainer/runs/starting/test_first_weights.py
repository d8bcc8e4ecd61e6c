"""Where a run begins: new weights, or its parent's."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
import torch

from store.checkpoints import CheckpointFolder
from tests.trainer.runs.test_training_run import ENDS, run, settings, window
from tests.trainer.worlds import WEIGHTS
from trainer.checkpoint_loading import LoadedCheckpoint, load_checkpoint
from trainer.model.corpus import Corpus, corpus_of
from trainer.model.learning.optimiser import MOMENTS_FILE
from trainer.runs.causes.codebook_choice import assigner
from trainer.runs.starting.first_weights import FirstWeights, continued, new_weights, taught
from trainer.semantic_ids.codebook import Codebook, zero_codebook

READ = window({0: 0, 1: 0}, ENDS)
LISTED = [READ.items[item_id] for item_id in sorted(READ.items)]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[CheckpointFolder, LoadedCheckpoint]:
    folder = CheckpointFolder(tmp_path_factory.mktemp("parent"))
    return folder, load_checkpoint(folder, run(folder.root, settings(steps=3, gate=30)).manifest.checkpoint)


def corpus_under(codebook: Codebook) -> Corpus:
    return replace(corpus_of(READ.engagements, READ.items, WEIGHTS), codes_IL=assigner(codebook)(LISTED))


def begins(parent: tuple[CheckpointFolder, LoadedCheckpoint], codebook: Codebook) -> FirstWeights:
    folder, loaded = parent
    return continued(loaded, folder, codebook, LISTED, corpus_under(codebook), seed=0)


def test_a_first_run_has_the_form_that_the_settings_say() -> None:
    book = zero_codebook(settings())
    first = new_weights(corpus_under(book), settings(), book, None)
    assert (first.model.shape.layers, first.model.shape.width, first.moments) == (1, 32, {})
    again = new_weights(corpus_under(book), settings(), book, first.vocabulary)
    assert again.vocabulary is first.vocabulary
    assert torch.equal(again.model.embedding.weight, first.model.embedding.weight)


def test_a_continued_run_begins_where_its_parent_ended(parent: tuple[CheckpointFolder, LoadedCheckpoint]) -> None:
    first = begins(parent, parent[1].codebook)
    weights = parent[1].generator.model.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in first.model.state_dict().items())
    assert int(first.moments["step/code_bias"]) == 3


def test_under_another_codebook_nothing_is_known_of_its_codes(
    parent: tuple[CheckpointFolder, LoadedCheckpoint],
) -> None:
    other = replace(parent[1].codebook, version="codebook-000001-other")
    first = begins(parent, other)
    assert "step/code_bias" not in first.moments
    assert int(first.moments["step/norm.weight"]) == 3


def test_a_parent_that_kept_no_optimiser_is_continued_with_a_new_one(
    parent: tuple[CheckpointFolder, LoadedCheckpoint],
) -> None:
    file = parent[0].path(parent[1].manifest.checkpoint) / MOMENTS_FILE
    kept = file.read_bytes()
    file.unlink()
    try:
        assert begins(parent, parent[1].codebook).moments == {}
    finally:
        file.write_bytes(kept)


def test_a_new_lineage_takes_over_what_fits_and_is_taught(parent: tuple[CheckpointFolder, LoadedCheckpoint]) -> None:
    loaded, book = parent[1], parent[1].codebook
    deeper = msgspec.structs.replace(settings(), model=msgspec.structs.replace(settings().model, layers=2))
    first = taught(loaded, book, LISTED, corpus_under(book), deeper, {"layers": (1, 2)}, None)
    assert (first.model.shape.layers, first.moments) == (2, {})
    assert torch.equal(first.model.embedding.weight, loaded.generator.model.embedding.weight)
    assert first.teacher is not None
    assert first.teacher.model.shape.layers == 1
    words = msgspec.structs.replace(settings(), model=msgspec.structs.replace(settings().model, text_vocabulary=280))
    other = taught(loaded, book, LISTED, corpus_under(book), words, {"text_vocabulary": (320, 280)}, None)
    assert other.vocabulary.text_size == 280 < loaded.generator.vocabulary.text_size
    assert other.teacher is not None
    assert other.teacher.semantic_begin == other.vocabulary.semantic_begin
