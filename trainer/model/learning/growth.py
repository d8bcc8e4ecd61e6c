"""Growth: a model follows a new codebook.

The semantic-ID tokens are carried over, not drawn anew: an item's old vector (the sum of its old code embeddings) is
taken apart under its new codes, level by level as means of what is left over. So items that the parent knew keep about
the vectors they had, and items that share a new code start from what those have in common.

Invariant: words and all other weights stay; an equal codebook gives an equal model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trainer.model.decoder import Decoder
from trainer.model.vocabulary import Vocabulary

OF_CODES = frozenset({"embedding.weight", "code_bias", "tower.codes_out"})
"""Tensors that hold something for each code."""


def grown(
    parent: Decoder, vocabulary: Vocabulary, old_codes_IL: np.ndarray, new_codes_IL: np.ndarray, seed: int
) -> Decoder:
    """The parent under a vocabulary whose codebook may differ; rows of the two arrays are the same items.

    The words must be the same. Equal codebooks (equal codes and widths) give an equal model.
    """
    old = parent.shape
    shape = replace(old, tokens=vocabulary.size, semantic_begin=vocabulary.semantic_begin, widths=vocabulary.widths)
    if shape.semantic_begin != old.semantic_begin:
        raise ValueError("the text vocabulary changed: within a lineage it is fixed; start a new lineage")
    same = shape.widths == old.widths and np.array_equal(old_codes_IL, new_codes_IL)
    model = Decoder(shape, seed)
    weights = {name: tensor for name, tensor in parent.state_dict().items() if name in _kept(model, parent)}
    model.load_state_dict(weights, strict=False)
    with torch.no_grad():
        model.embedding.weight[: old.semantic_begin] = parent.embedding.weight[: old.semantic_begin]
        if same:
            model.load_state_dict(parent.state_dict())
        else:
            old_IL, new_IL = (torch.from_numpy(codes_IL.astype(np.int64)) for codes_IL in (old_codes_IL, new_codes_IL))
            for parts, theirs in ((_tables(model), _tables(parent)), (_out_tables(model), _out_tables(parent))):
                _take_apart(parts, _item_vectors(theirs, old_IL), new_IL)
    return model


def _kept(model: Decoder, parent: Decoder) -> set[str]:
    """Tensors of equal shape, but what belongs to codes."""
    theirs = parent.state_dict()
    return {
        n for n, t in model.state_dict().items() if n not in OF_CODES and n in theirs and theirs[n].shape == t.shape
    }


def _tables(model: Decoder) -> list[Tensor]:
    """Code embeddings by level."""
    return [model.level_table(level)[0] for level in range(len(model.shape.widths))]


def _out_tables(model: Decoder) -> list[Tensor]:
    """What codes add to the vector that is scored, by level."""
    return list(torch.split(model.tower.codes_out, list(model.shape.widths)))


def _item_vectors(tables: list[Tensor], codes_IL: Tensor) -> Tensor:
    return torch.stack([table[codes_IL[:, level]] for level, table in enumerate(tables)]).sum(0)


def _take_apart(tables: list[Tensor], left_ID: Tensor, codes_IL: Tensor) -> None:
    """Sets code embeddings to the means of what is left of the item vectors, level by level. Codes without items keep
    their random start: no item carries them yet."""
    for level, table_VD in enumerate(tables):
        codes_I = codes_IL[:, level]
        count_V = torch.bincount(codes_I, minlength=len(table_VD)).to(left_ID.dtype)
        sums_VD = torch.zeros_like(table_VD).index_add_(0, codes_I, left_ID)
        used_V = count_V > 0
        table_VD[used_V] = sums_VD[used_V] / count_V[used_V, None]
        left_ID = left_ID - table_VD[codes_I]
