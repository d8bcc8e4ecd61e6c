"""Loading a checkpoint: from a folder that says what it is to a model that answers.

The trainer warm-starts from what is loaded here, and a scorer serves it. Imports torch, so a worker imports it with its
first checkpoint.

Invariant: what is returned was verified file by file, and its model has answered once.
"""

from __future__ import annotations

from dataclasses import dataclass

from store.checkpoints import CODEBOOK, CheckpointFolder, Manifest, verify
from trainer.model.beam_search import Generator
from trainer.model.branch_prior import BranchPrior
from trainer.model.decoder import Decoder
from trainer.model.vocabulary import Vocabulary
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.files import load_codebook


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint in memory: model, words and codebook, bound together."""

    manifest: Manifest
    generator: Generator
    codebook: Codebook


def load_checkpoint(folder: CheckpointFolder, checkpoint: str) -> LoadedCheckpoint:
    """Raises `CheckpointError` or `ValueError`, which say what is wrong and what to do."""
    path = folder.path(checkpoint)
    manifest = verify(path)
    vocabulary = Vocabulary.load(path)
    generator = Generator(Decoder.load(path), vocabulary, BranchPrior.load(path, vocabulary.widths))
    generator.dry_run()
    return LoadedCheckpoint(manifest, generator, load_codebook(path / CODEBOOK / manifest.codebook))
