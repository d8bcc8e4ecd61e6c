"""A snapshot of items' published vectors, in a checkpoint's folder.

What an item's vector is after an engagement has that engagement in it. A model that learned from such vectors would
trust them too much: at serving time they do not know the future. So every run learns with the vectors as they were when
its parent was made, and leaves those of its own time to the next.

Invariant: what is loaded is what was saved; a folder without a snapshot has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from safetensors.numpy import load_file, save_file

VECTORS_FILE, NAMES_FILE = "vectors.safetensors", "vectors.json"


def save_vectors(vectors: Mapping[str, np.ndarray], folder: Path) -> None:
    """Writes the vectors (float16, of one width) by item."""
    names = sorted(vectors)
    vector_NV = np.stack([vectors[name] for name in names]) if names else np.zeros((0, 0), np.float16)
    save_file({"vectors": np.ascontiguousarray(vector_NV, np.float16)}, folder / VECTORS_FILE)
    (folder / NAMES_FILE).write_bytes(msgspec.json.encode(names))


def load_vectors(folder: Path) -> dict[str, np.ndarray]:
    """The vectors by item."""
    if not (folder / VECTORS_FILE).is_file():
        return {}
    vector_NV = load_file(folder / VECTORS_FILE)["vectors"]
    names = msgspec.json.decode((folder / NAMES_FILE).read_bytes(), type=list[str])
    return dict(zip(names, vector_NV, strict=True))
