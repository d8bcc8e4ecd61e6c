"""First weights: those of the parent under the run's codebook, with what its optimiser knew; or new ones: in a first
run, and in the first of a new lineage.

A new lineage (`trainer.runs.starting.lineage`) takes over what fits (tensors of equal name and form), and its parent
teaches it.

Invariant: under an equal codebook a run that continues its parent begins where that one ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from store.checkpoints import CheckpointFolder
from store.items import ItemCard
from store.settings import Settings
from trainer.checkpoint_loading import LoadedCheckpoint
from trainer.model.corpus import Corpus
from trainer.model.decoder import Decoder, Shape
from trainer.model.item_tower import TowerShape
from trainer.model.learning.growth import OF_CODES, grown
from trainer.model.learning.losses import Teacher
from trainer.model.learning.optimiser import Moments, load_moments, without
from trainer.model.vocabulary import Vocabulary, train_vocabulary
from trainer.runs.causes.codebook_choice import assigner
from trainer.runs.starting.lineage import Changes
from trainer.semantic_ids.codebook import Codebook


@dataclass(frozen=True, slots=True)
class FirstWeights:
    """A model and its words before the first step; `moments`: what the optimiser knows; `teacher`: from whom a new
    lineage learns."""

    model: Decoder
    vocabulary: Vocabulary
    moments: Moments = field(default_factory=dict)
    teacher: Teacher | None = None


def new_weights(corpus: Corpus, settings: Settings, codebook: Codebook, vocabulary: Vocabulary | None) -> FirstWeights:
    """Those of a first run. `vocabulary`: the words that it has chosen before."""
    shape = settings.model
    if vocabulary is None:
        vocabulary = train_vocabulary(filter(None, corpus.texts), codebook.widths, shape.text_vocabulary)
    tower = TowerShape(own=shape.item_rows)
    made = Shape.of(vocabulary, layers=shape.layers, width=shape.width, heads=shape.heads, tower=tower)
    model = Decoder(made, settings.training.seed)
    model.tower.begin(corpus.content_IC)
    return FirstWeights(model, vocabulary)


def continued(
    parent: LoadedCheckpoint,
    folder: CheckpointFolder,
    codebook: Codebook,
    listed: list[ItemCard],
    corpus: Corpus,
    seed: int,
) -> FirstWeights:
    """The parent's, under this codebook. What its optimiser knew of codes ends with the codebook that gave them their
    meaning."""
    vocabulary = parent.generator.vocabulary.with_widths(codebook.widths)
    model = grown(parent.generator.model, vocabulary, assigner(parent.codebook)(listed), corpus.codes_IL, seed)
    moments = load_moments(folder.path(parent.manifest.checkpoint))
    return FirstWeights(
        model, vocabulary, moments if parent.codebook.version == codebook.version else without(moments, OF_CODES)
    )


def taught(
    parent: LoadedCheckpoint,
    codebook: Codebook,
    listed: list[ItemCard],
    corpus: Corpus,
    settings: Settings,
    changed: Changes,
    vocabulary: Vocabulary | None,
) -> FirstWeights:
    """Those of a new lineage. `vocabulary`: the words that it has chosen before, if it was begun before."""
    theirs = parent.generator.vocabulary.with_widths(codebook.widths)
    kept = "text_vocabulary" not in changed
    first = new_weights(corpus, settings, codebook, theirs if kept else vocabulary)
    old_codes_IL = assigner(parent.codebook)(listed)
    teacher = grown(parent.generator.model, theirs, old_codes_IL, corpus.codes_IL, settings.training.seed)
    own = first.model.state_dict()
    fits = {
        name: tensor for name, tensor in teacher.state_dict().items() if name in own and own[name].shape == tensor.shape
    }
    if not kept:
        fits.pop("embedding.weight", None)  # its words are others
    first.model.load_state_dict(fits, strict=False)
    return replace(first, teacher=Teacher(teacher, first.vocabulary.semantic_begin))
