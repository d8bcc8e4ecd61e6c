"""Content vectors: what an item's maker said and showed, as unit vectors that need no behaviour.

Text becomes one vector of the encoder that `content.encoder` names; dense vectors made elsewhere (`visual`, `audio`, …)
are taken as given. Each is a *part* of its own: fusing them is the codebook's business, which knows what each modality
looks like as a whole.

Invariant: a part depends on its own upload only, not on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np

from store.events import Upload
from trainer.content.encoder import MissingEncoderError, TextEncoder
from trainer.content.passages import text_of
from trainer.content.static import StaticEncoder
from trainer.content.vectors import NO_CONTENT, unit_rows

_ID_WIDTH = 24


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
