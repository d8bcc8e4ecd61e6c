"""A model follows a new codebook without forgetting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.trainer.model.learning.short_runs import learn
from tests.trainer.worlds import corpus, vocabulary
from trainer.model.decoder import Decoder
from trainer.model.learning.growth import grown
from trainer.model.learning.pretraining import Outcome


@pytest.fixture(scope="module")
def learned() -> tuple[Decoder, Outcome]:
    """Far from where it began; how much it knows is nothing to what grows."""
    return learn(corpus(), 30)


def test_an_equal_codebook_gives_the_parent_again(learned: tuple[Decoder, Outcome]) -> None:
    world = corpus()
    child = grown(learned[0], vocabulary(), world.codes_IL, world.codes_IL, seed=9)
    assert all(torch.equal(x, y) for x, y in zip(child.parameters(), learned[0].parameters(), strict=True))


def test_a_new_codebook_keeps_the_items_vectors(learned: tuple[Decoder, Outcome]) -> None:
    """Under a codebook that tells all items apart, every item keeps the vector it had; words are untouched."""
    parent, world = learned[0], corpus()
    renamed = np.stack([np.arange(32) // 2, np.arange(32) % 2, np.zeros(32, int)], 1)
    v = vocabulary().with_widths((16, 2, 4))
    child = grown(parent, v, world.codes_IL, renamed, seed=0)

    def vectors(model: Decoder, codes_IL: np.ndarray) -> torch.Tensor:
        tables = [model.level_table(level)[0] for level in range(3)]
        return torch.stack([tables[level][torch.from_numpy(codes_IL[:, level])] for level in range(3)]).sum(0)

    before, after = vectors(parent, world.codes_IL), vectors(child, renamed)
    assert torch.cosine_similarity(before, after).mean() > 0.8
    begin = vocabulary().semantic_begin
    assert torch.equal(child.embedding.weight[:begin], parent.embedding.weight[:begin])


def test_other_words_are_another_lineage(learned: tuple[Decoder, Outcome]) -> None:
    from trainer.model.vocabulary import train_vocabulary

    other = train_vocabulary(["something else entirely"] * 3, vocabulary().widths, 300)
    world = corpus()
    with pytest.raises(ValueError, match="new lineage"):
        grown(learned[0], other, world.codes_IL, world.codes_IL, seed=0)
