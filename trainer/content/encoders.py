"""Content vectors: what an item's maker said and showed, as unit vectors that need no behaviour.

Text becomes one vector of a `TextEncoder`; dense vectors made elsewhere (`visual`, `audio`, …) are taken as given. Each
is a *part* of its own: fusing them is the codebook's business, which knows what each modality looks like as a whole.

Long text is pooled, not cut: a text is passages (parted by an empty line; long ones again every so many tokens). The
first counts as much as all others together, which count alike: `text_of` makes the title the first passage.

Invariant: a row depends on its own text only, not on its batch: every encoder passes
`tests/trainer/content/encoder_suite.py`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors.numpy import load_file
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from store.events import Upload

PASSAGE_BREAK = "\n\n"
NO_CONTENT = "id"
"""The part of an item that came with no content at all: a fixed direction of its id, so that such items have IDs of
their own instead of all sharing one (they mean nothing before behaviour does)."""
_ID_WIDTH = 24


class MissingEncoderError(RuntimeError):
    """A text encoder's files are not installed, or not the ones expected: run the command that the message gives, or
    set `content.encoder = "static"`."""


class TextEncoder(Protocol):
    """Text → unit vectors. `encode` gives float32 of shape (texts, width); an empty text is a row of zeros."""

    @property
    def name(self) -> str: ...
    @property
    def width(self) -> int: ...
    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


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


def chunk_sizes(tokens: int, most: int) -> list[int]:
    """A passage of so many tokens as chunks of at most `most`."""
    return [most] * (tokens // most) + ([tokens % most] if tokens % most else [])


def chunk_weights(chunks: int) -> list[float]:
    """What each chunk of a text counts: the first as much as all others together."""
    return [1.0] if chunks == 1 else [0.5] + [0.5 / (chunks - 1)] * (chunks - 1) if chunks else []


def text_encoder(name: str) -> TextEncoder:
    """The encoder that `content.encoder` names; built once per process."""
    if name not in ("static", "minilm"):
        raise MissingEncoderError(f"content.encoder is {name!r}: use static or minilm")
    return _encoder(name)


@lru_cache(maxsize=2)
def _encoder(name: str) -> TextEncoder:
    if name == "static":
        return StaticEncoder()
    from trainer.content.minilm import MiniLMEncoder  # torch is heavy: only when asked for

    return MiniLMEncoder()


def text_of(upload: Upload) -> str:
    """An upload as passages: title; tags and category; description; transcript. Empty when it has none of them."""
    about = ", ".join([*upload.tags, *([upload.category] if upload.category else [])])
    fields = (upload.title, about, upload.description, upload.transcript)
    return PASSAGE_BREAK.join(text for text in (field.strip() for field in fields if field) if text)


def content_parts(uploads: Sequence[Upload], encoder: TextEncoder) -> list[dict[str, np.ndarray]]:
    """Modality → unit vector (float16) of each upload: `text`, each of its `features`, or `id` when it has none."""
    text_ND = encoder.encode([text_of(upload) for upload in uploads]).astype(np.float16)
    known_N = np.abs(text_ND).max(axis=1, initial=0.0) > 0
    parts = []
    for upload, text_D, known in zip(uploads, text_ND, known_N, strict=True):
        part = {name: unit_rows(np.asarray([vector]))[0].astype(np.float16) for name, vector in upload.features.items()}
        part = {name: vector for name, vector in part.items() if vector.any()}
        if known:
            part["text"] = text_D
        parts.append(part or {NO_CONTENT: _direction_of(upload.item_id)})
    return parts


def _direction_of(item_id: str) -> np.ndarray:
    seed = int.from_bytes(blake2b(item_id.encode(), digest_size=8, person=b"direction").digest(), "little")
    direction_1D = np.random.Generator(np.random.PCG64(seed)).standard_normal((1, _ID_WIDTH))
    part: np.ndarray = unit_rows(direction_1D)[0].astype(np.float16)
    return part


def passages_of(text: str) -> list[str]:
    """The passages of a text, as valid Unicode (a lone surrogate, which JSON can carry, becomes a question mark)."""
    clean = text.encode("utf-8", "replace").decode()
    return [passage for passage in clean.split(PASSAGE_BREAK) if passage.strip()]


def unit_rows(x_ND: np.ndarray) -> np.ndarray:
    """Rows of length 1 (float32); a row of zeros stays one."""
    # Scaled by the largest entry first: squares of large given numbers would overflow.
    wide_ND = np.asarray(x_ND, "f8")
    wide_ND = wide_ND / np.maximum(np.abs(wide_ND).max(axis=1, keepdims=True, initial=0.0), 1e-300)
    norm_N1 = np.sqrt((wide_ND * wide_ND).sum(axis=1, keepdims=True))
    unit_ND: np.ndarray = (wide_ND / np.maximum(norm_N1, 1e-12)).astype("f4")
    return unit_ND


def stack_parts(parts: Sequence[Mapping[str, np.ndarray]], name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have modality `name` at `width`: their indices, and their vectors (float64)."""
    have = [index for index, part in enumerate(parts) if name in part and len(part[name]) == width]
    rows = np.array([parts[index][name] for index in have], dtype="f8").reshape(len(have), width)
    return np.asarray(have, dtype=np.int64), rows


def package_folder(package: str, install: str) -> Path:
    """Where an installed package lies, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingEncoderError(f"the package {package} is not installed: run `{install}`")
    return Path(next(iter(found.submodule_search_locations)))
