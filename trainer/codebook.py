"""Codebook: content → semantic ID. A version is frozen: what it once said of a content vector it says for ever.

`fuse` maps the parts of an item (whichever it has) into one space of D dimensions; `assign` quantises that residually:
level by level the nearest centroid, then what it leaves over. An early code is a broad topic, a later one a shade.

Invariant: assignment is a pure function of (version, content), bit for bit: it uses exact arithmetic (`trainer.exact`),
so neither batch, thread, nor processor can move an item.

Items with equal codes are told apart by `suffix_of`: 31 bits of a hash of the item's id. It needs no coordination and
no memory, so replay, re-order and rebalance cannot change it, and two workers always agree. Were two such suffixes
equal as well (one in two thousand million pairs), nothing would break: the suffix only orders items within a leaf, and
trees, catalogues and answers hold the full id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from store.settings import Settings
from trainer.content import stack_parts
from trainer.exact import on_grid, product, unit_on_grid

ZERO_VERSION = "codebook-000000-zero"
ZERO_WIDTH = 96
"""Dimensions of version zero's space."""


@dataclass(frozen=True, slots=True)
class ModalityMap:
    """Content of one modality → the fused space: standardise by `mean`, then linear layers with ReLU between them.

    `skip` (optional) adds a linear path around the hidden layer. `weight` is how much the modality counts among those
    that an item has. All numbers are on the grid.
    """

    mean_I: np.ndarray
    linear_ID: np.ndarray
    hidden_IH: np.ndarray | None = None
    hidden_H: np.ndarray | None = None
    out_HD: np.ndarray | None = None
    weight: float = 1.0

    def __call__(self, x_NI: np.ndarray) -> np.ndarray:
        """Mapped rows (N, D), exact."""
        x_NI = on_grid(x_NI) - self.mean_I
        mapped_ND = on_grid(product(x_NI, self.linear_ID))
        if self.hidden_IH is not None and self.hidden_H is not None and self.out_HD is not None:
            hidden_NH = np.maximum(on_grid(product(x_NI, self.hidden_IH)) + self.hidden_H, 0.0)
            mapped_ND = mapped_ND + on_grid(product(hidden_NH, self.out_HD))
        return mapped_ND

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, for saving."""
        named = {
            "mean": self.mean_I,
            "linear": self.linear_ID,
            "hidden": self.hidden_IH,
            "bias": self.hidden_H,
            "out": self.out_HD,
        }
        return {name: array for name, array in named.items() if array is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """One version. `version` sorts by age; `centroids[l]` has shape (widths[l], D); `about` says how it was made."""

    version: str
    centroids: tuple[np.ndarray, ...]
    maps: Mapping[str, ModalityMap]
    seed: int = 0
    open_ended: bool = False
    """True for version zero: any modality of any width is projected at random. Else unknown ones are passed over."""
    about: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def levels(self) -> int:
        """Codes per item."""
        return len(self.centroids)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return tuple(len(centroids) for centroids in self.centroids)

    @property
    def dimensions(self) -> int:
        """D, the width of the fused space."""
        return int(self.centroids[0].shape[1])

    @property
    def sequence(self) -> int:
        """The version's number: 0 for the first."""
        return int(self.version.split("-")[1])

    def fuse(self, parts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Unit rows x_ND (float32, on the grid) for items given as modality → vector; a row of zeros when an item has
        nothing that this version knows. A modality that is absent adds nothing: the direction is that of the rest."""
        x_ND = np.zeros((len(parts), self.dimensions))
        for name, width in sorted({(name, len(vector)) for part in parts for name, vector in part.items()}):
            mapped = self._map_of(name, width)
            if mapped is not None:
                rows, x_MI = stack_parts(parts, name, width)
                x_ND[rows] += on_grid(mapped.weight * unit_on_grid(mapped(x_MI)))
        return unit_on_grid(x_ND).astype(np.float32)

    def _map_of(self, name: str, width: int) -> ModalityMap | None:
        known = self.maps.get(name)
        if known is not None and len(known.mean_I) == width:
            return known
        return random_map(name, width, self.dimensions, self.seed) if self.open_ended else None

    def assign(self, x_ND: np.ndarray) -> np.ndarray:
        """Codes (N, levels) int32 of fused rows."""
        residual_ND = on_grid(x_ND)
        codes_NL = np.empty((len(residual_ND), self.levels), np.int32)
        for level, centroids_WD in enumerate(self.centroids):
            half_W = np.square(centroids_WD).sum(axis=1) / 2
            codes_NL[:, level] = np.argmin(half_W - product(residual_ND, centroids_WD.T), axis=1)
            residual_ND = residual_ND - centroids_WD[codes_NL[:, level]]
        return codes_NL

    def assign_parts(self, parts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Codes (N, levels) int32 of items given as modality → vector."""
        return self.assign(self.fuse(parts))

    def reconstruct(self, codes_NL: np.ndarray) -> np.ndarray:
        """The point (N, D) float32 that codes stand for; fewer columns than levels: that of a prefix."""
        x_ND = np.zeros((len(codes_NL), self.dimensions))
        for level in range(np.shape(codes_NL)[1]):
            x_ND += self.centroids[level][codes_NL[:, level]]
        return x_ND.astype(np.float32)

    def quantization_error(self, x_ND: np.ndarray) -> np.ndarray:
        """Squared distance of each fused row (of length 1) to the point of its codes: 0 is perfect (shape N)."""
        error_N: np.ndarray = np.square(x_ND - self.reconstruct(self.assign(x_ND))).sum(axis=1)
        return error_N

    def save(self, folder: Path) -> Path:
        """Writes this version to `folder / version` (safetensors and a readable `codebook.json`); returns that."""
        from trainer.codebook_files import save_codebook

        return save_codebook(self, folder)

    @staticmethod
    def load(folder: Path) -> Codebook:
        """The version in `folder`; `DamagedCodebookError` when it is not whole."""
        from trainer.codebook_files import load_codebook

        return load_codebook(folder)


def suffix_of(item_id: str) -> int:
    """31 bits of a stable hash of the id: tells items with equal codes apart on every worker alike."""
    return int.from_bytes(blake2b(item_id.encode(), digest_size=4, person=b"suffix").digest(), "little") & 0x7FFFFFFF


def widths_of(settings: Settings) -> tuple[int, ...]:
    """Codes per level that the settings ask for."""
    book = settings.codebook
    return tuple(max(book.width >> level, 2) if book.halving else book.width for level in range(book.levels))


@lru_cache(maxsize=64)
def random_map(name: str, width: int, dimensions: int, seed: int) -> ModalityMap:
    """A random projection that the modality's name, its width and the seed decide, the same in every process."""
    digest = blake2b(f"{name}:{width}:{dimensions}:{seed}".encode(), digest_size=8, person=b"map").digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    linear_ID = random.standard_normal((width, dimensions)) / np.sqrt(dimensions)
    return ModalityMap(mean_I=np.zeros(width), linear_ID=on_grid(linear_ID))


def zero_codebook(settings: Settings) -> Codebook:
    """Version zero: needs no data. Random projections, and per level random directions of shrinking length (an LSH:
    items in one cell of random directions are near)."""
    random = np.random.Generator(np.random.PCG64(settings.codebook.seed))
    centroids, left = [], 1.0
    for width in widths_of(settings):
        directions_WD = random.standard_normal((width, ZERO_WIDTH))
        directions_WD /= np.linalg.norm(directions_WD, axis=1, keepdims=True)
        # the largest of W random cosines in D dimensions: the step that leaves least over, on average
        step = left * min(np.sqrt(2 * np.log(width) / ZERO_WIDTH), 1.0)
        centroids.append(on_grid(directions_WD * step))
        left = np.sqrt(max(left**2 - step**2, 0.0))
    return Codebook(
        version=ZERO_VERSION,
        centroids=tuple(centroids),
        maps=MappingProxyType({}),
        seed=settings.codebook.seed,
        open_ended=True,
        about=MappingProxyType({"method": "zero", "parent": None}),
    )
