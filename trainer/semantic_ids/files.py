"""A codebook version as a folder: `codebook.safetensors` (all numbers) and `codebook.json` (readable, with sha256).

Written under a temporary name and renamed, so that a folder under its own name is whole.
Invariant: what is loaded assigns exactly as what was saved, or loading fails.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import numpy as np
from safetensors.numpy import load, save

from trainer.semantic_ids.codebook import Codebook, Level, ModalityMap
from trainer.semantic_ids.word_map import WordMap

_NUMBERS = "codebook.safetensors"
_ABOUT = "codebook.json"
_LEVEL = {"seeds_WV": "seeds_WV", "price_W": "price_W", "points_WD": "points_WD", "projection_DV": "view_DV"}
"""Field of a level → its name on disk."""
_MAP = ("mean_I", "content_IC", "linear_CA", "hidden_CH", "bias_H", "out_HA")
_WORDS = ("rarity_V", "meaning_VA")


class DamagedCodebookError(RuntimeError):
    """A codebook folder is missing, incomplete or not what its manifest says: restore it from another copy, or train
    a new version (`sidestream codebook train`)."""


def save_codebook(book: Codebook, folder: Path) -> Path:
    """Writes `book` to `folder / book.version` and returns that. An existing one is left as it is: versions are
    frozen."""
    final = folder / book.version
    if final.exists():
        return final
    arrays: dict[str, np.ndarray] = {}
    for level, stage in enumerate(book.stages):
        named = {stored: getattr(stage, name) for name, stored in _LEVEL.items()}
        arrays |= {f"level.{level}.{name}": array for name, array in named.items() if array is not None}
    for name, mapped in book.maps.items():
        arrays |= {f"map.{name}.{part}": array for part, array in mapped.arrays().items()}
    packed = {name: np.ascontiguousarray(array, dtype="<f8") for name, array in arrays.items()}
    if book.words is not None:  # many, and numbers on the grid fit 24 bits
        packed |= {f"words.{name}": getattr(book.words, name).astype("<f4") for name in _WORDS}
    numbers = save(packed)
    manifest = {
        "version": book.version,
        "widths": book.widths,
        "dimensions": book.dimensions,
        "unit": [stage.unit for stage in book.stages],
        "modalities": {
            name: {"width": len(m.mean_I), "weight": m.weight, "share": m.share} for name, m in book.maps.items()
        },
        "seed": book.seed,
        "about": dict(book.about),
        "created_at": time.time(),
        "sha256": {_NUMBERS: sha256(numbers).hexdigest()},
    }
    temporary = folder / f".{book.version}.{os.getpid()}"
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        _write(temporary / _NUMBERS, numbers)
        _write(temporary / _ABOUT, json.dumps(manifest, indent=2).encode())
        temporary.rename(final)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not final.exists():  # else another process was first with the same version
            raise
    return final


def _write(file: Path, data: bytes) -> None:
    with file.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def load_codebook(folder: Path) -> Codebook:
    """The version in `folder` (the folder that `save_codebook` returned)."""
    try:
        manifest = json.loads((folder / _ABOUT).read_bytes())
        numbers = (folder / _NUMBERS).read_bytes()
    except (OSError, ValueError) as error:
        raise DamagedCodebookError(f"{folder}: {error}: restore it, or train a new version") from None
    if sha256(numbers).hexdigest() != manifest["sha256"][_NUMBERS]:
        raise DamagedCodebookError(f"{folder / _NUMBERS} is not what {_ABOUT} says: restore it, or train a new version")
    arrays = load(numbers)
    maps = {
        name: ModalityMap(
            **{part: arrays.get(f"map.{name}.{part}") for part in _MAP},  # type: ignore[arg-type]
            share=known["share"],
            weight=known["weight"],
        )
        for name, known in manifest["modalities"].items()
    }
    return Codebook(
        version=manifest["version"],
        stages=tuple(
            Level(
                **{name: arrays.get(f"level.{level}.{stored}") for name, stored in _LEVEL.items()},  # type: ignore[arg-type]
                unit=unit,
            )
            for level, unit in enumerate(manifest["unit"])
        ),
        maps=MappingProxyType(maps),
        words=WordMap(*(arrays[f"words.{name}"].astype("f8") for name in _WORDS))
        if "words.rarity_V" in arrays
        else None,
        seed=manifest["seed"],
        about=MappingProxyType(manifest["about"]),
    )
