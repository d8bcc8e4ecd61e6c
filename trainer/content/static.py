"""The static encoder: a mean of trained token vectors, with no network to run.

Invariant: a row is summed in the order of its own tokens, whatever its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from trainer.content.encoder import package_folder
from trainer.content.passages import chunk_sizes, chunk_weights, passages_of
from trainer.content.vectors import unit_rows


class StaticEncoder:
    """A mean of trained token vectors (wordllama's table of 32,000 × 256): no network, thousands of texts a second.

    One sparse product of (texts × tokens) weights with the table: a row is summed in its own order whatever the batch.
    """

    name = "static"

    def __init__(self, passage_tokens: int = 128, batch: int = 1024) -> None:
        folder = package_folder("wordllama", "pip install wordllama")
        self._table_VD = next(iter(load_file(folder / "weights/l2_supercat_256.safetensors").values())).astype("f4")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._passage_tokens = passage_tokens
        self._batch = batch
        self.width = int(self._table_VD.shape[1])

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows (N, width) float32."""
        rows = [self._encode(texts[start : start + self._batch]) for start in range(0, len(texts), self._batch)]
        return np.concatenate(rows) if rows else np.zeros((0, self.width), "f4")

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        passages = [passages_of(text) for text in texts]
        flat = [passage for group in passages for passage in group]
        encodings = iter(self._tokenizer.encode_batch_fast(flat, add_special_tokens=False) if flat else ())
        tokens: list[int] = []
        weights: list[np.ndarray] = []
        ends = [0]
        for group in passages:
            sizes = []
            for _ in group:
                ids = next(encodings).ids
                tokens += ids
                sizes += chunk_sizes(len(ids), self._passage_tokens)
            for size, weight in zip(sizes, chunk_weights(len(sizes)), strict=True):
                weights.append(np.full(size, weight / size, "f4"))
            ends.append(len(tokens))
        if not tokens:
            return np.zeros((len(texts), self.width), "f4")
        shape = (len(texts), len(self._table_VD))
        return unit_rows(csr_matrix((np.concatenate(weights), tokens, ends), shape=shape) @ self._table_VD)
