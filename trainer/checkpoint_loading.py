"""Loading a checkpoint: from a folder that says what it is to a model that answers.

The trainer warm-starts from what is loaded here, and a scorer serves it. Imports torch, so a worker imports it with its
first checkpoint.

Invariant: what is returned was verified file by file, and its model has answered once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from store.checkpoints import CODEBOOK, CheckpointFolder, Manifest, verify
from trainer.model.beam_search import Generator
from trainer.model.branch_prior import BranchPrior
from trainer.model.decoder import Decoder
from trainer.model.vector_snapshot import load_vectors
from trainer.model.vocabulary import Vocabulary
from trainer.semantic_ids.codebook import Codebook
from trainer.semantic_ids.files import load_codebook


@dataclass(frozen=True, slots=True)
class LoadedCheckpoint:
    """A checkpoint in memory: model, words and codebook, bound together; and the items' vectors when it was made, which
    are what was known before the engagements that the next run learns."""

    manifest: Manifest
    generator: Generator
    codebook: Codebook
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)


def load_checkpoint(folder: CheckpointFolder, checkpoint: str) -> LoadedCheckpoint:
    """Raises `CheckpointError` or `ValueError`, which say what is wrong and what to do."""
    path = folder.path(checkpoint)
    manifest = verify(path)
    vocabulary = Vocabulary.load(path)
    generator = Generator(Decoder.load(path), vocabulary, BranchPrior.load(path, vocabulary.widths))
    generator.dry_run()
    codebook = load_codebook(path / CODEBOOK / manifest.codebook)
    return LoadedCheckpoint(manifest, generator, codebook, load_vectors(path))
