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

from trainer.codebook import Codebook, ModalityMap

_NUMBERS = "codebook.safetensors"
_ABOUT = "codebook.json"


class DamagedCodebookError(RuntimeError):
    """A codebook folder is missing, incomplete or not what its manifest says: restore it from another copy, or train
    a new version (`sidestream codebook train`)."""


def save_codebook(book: Codebook, folder: Path) -> Path:
    """Writes `book` to `folder / book.version` and returns that. An existing one is left as it is: versions are
    frozen."""
    final = folder / book.version
    if final.exists():
        return final
    arrays = {f"level.{level}": centroids for level, centroids in enumerate(book.centroids)}
    for name, mapped in book.maps.items():
        arrays |= {f"map.{name}.{part}": array for part, array in mapped.arrays().items()}
    numbers = save({name: np.ascontiguousarray(array, dtype="<f8") for name, array in arrays.items()})
    manifest = {
        "version": book.version,
        "widths": book.widths,
        "dimensions": book.dimensions,
        "modalities": {name: {"width": len(m.mean_I), "weight": m.weight} for name, m in book.maps.items()},
        "open_ended": book.open_ended,
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
    maps = {}
    for name, known in manifest["modalities"].items():
        part = {key: arrays.get(f"map.{name}.{key}") for key in ("hidden", "bias", "out")}
        maps[name] = ModalityMap(
            mean_I=arrays[f"map.{name}.mean"],
            linear_ID=arrays[f"map.{name}.linear"],
            hidden_IH=part["hidden"],
            hidden_H=part["bias"],
            out_HD=part["out"],
            weight=known["weight"],
        )
    return Codebook(
        version=manifest["version"],
        centroids=tuple(arrays[f"level.{level}"] for level in range(len(manifest["widths"]))),
        maps=MappingProxyType(maps),
        seed=manifest["seed"],
        open_ended=manifest["open_ended"],
        about=MappingProxyType(manifest["about"]),
    )
