"""Codebook: content → semantic ID. A version is frozen: what it once said of a content vector it says for ever.

`fuse` maps the parts of an item (whichever it has) into one vector of D dimensions; `assign` quantises that residually:
level by level the nearest centroid, then what it leaves over. An early code is a broad topic, a later one a shade.

Invariant: assignment is a pure function of (version, content), bit for bit: it uses exact arithmetic
(`trainer.content.exact_sums`), so neither batch, thread, nor processor can move an item.

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
from types import MappingProxyType
from typing import Any

import numpy as np

from store.settings import Settings
from trainer.content.exact_sums import on_grid, product, unit_on_grid
from trainer.content.vectors import stack_parts
from trainer.semantic_ids.word_map import WORDS, WordMap

ZERO_VERSION = "codebook-000000-zero"
ZERO_WIDTH = 96
"""Dimensions of version zero's fused vectors."""
_BLOCK = 512
"""Rows computed at a time: what they need stays in the cache. Exact arithmetic: it changes no result."""
ITEMS_A_TOPIC = 16
"""Items to each first code: 10 to 20 are best (docs/log/2026-11-22-semantic-ids.md, a wider first level)."""
PATHS_AN_ITEM = 256
"""So many paths for each item leave few of them to share one, though items are not spread evenly."""
LAST_WIDTH = 4
"""Directions that the last level looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class ModalityMap:
    """Content of one modality (I numbers) → a fused vector of C + A dimensions; all numbers are on the grid.

    The content block: standardised by `mean` and projected, p_C. The aligned block (learned versions with behaviour):
    p_C @ linear + relu(p_C @ hidden + bias) @ out, where items engaged by the same people lie near each other. Both are
    scaled to length 1; `share` of the squared length goes to the aligned one. `weight`: how much the modality counts.
    """

    mean_I: np.ndarray
    content_IC: np.ndarray
    linear_CA: np.ndarray | None = None
    hidden_CH: np.ndarray | None = None
    bias_H: np.ndarray | None = None
    out_HA: np.ndarray | None = None
    share: float = 0.0
    weight: float = 1.0

    def __call__(self, x_NI: np.ndarray) -> np.ndarray:
        """Mapped rows (N, C + A), exact."""
        p_NC = unit_on_grid(product(on_grid(x_NI) - self.mean_I, self.content_IC))
        if self.linear_CA is None or self.hidden_CH is None or self.bias_H is None or self.out_HA is None:
            return p_NC
        hidden_NH = np.maximum(on_grid(product(p_NC, self.hidden_CH)) + self.bias_H, 0.0)
        aligned_NA = unit_on_grid(product(p_NC, self.linear_CA) + on_grid(product(hidden_NH, self.out_HA)))
        return on_grid(np.hstack([p_NC * np.sqrt(1 - self.share), aligned_NA * np.sqrt(self.share)]))

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by field, for saving."""
        names = ("mean_I", "content_IC", "linear_CA", "hidden_CH", "bias_H", "out_HA")
        return {name: array for name in names if (array := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One level: which code a residual gets, and the point it is then measured from. All numbers on the grid.

    The code is that of the nearest of `seeds_WV`, each dearer by its `price_W` (prices even out how often codes are
    used). `unit`: a residual is scaled to length 1 first. With a `projection_DV` it is projected on V directions first:
    near-duplicates differ little in each of many dimensions, and cells are narrow only in few. `points_WD` are what the
    codes stand for.
    """

    seeds_WV: np.ndarray
    price_W: np.ndarray
    points_WD: np.ndarray
    projection_DV: np.ndarray | None = None
    unit: bool = False

    def code(self, residual_ND: np.ndarray) -> np.ndarray:
        """Code of each residual (shape N), exact."""
        seen_NV = self.seen(residual_ND)
        near_NW = product(seen_NV, self.seeds_WV.T)
        near_NW -= np.square(self.seeds_WV).sum(axis=1) / 2 + self.price_W
        code_N: np.ndarray = np.argmax(near_NW, axis=1)
        return code_N

    def seen(self, residual_ND: np.ndarray) -> np.ndarray:
        """What the level looks at (N, V), exact."""
        seen_NV = residual_ND if self.projection_DV is None else on_grid(product(residual_ND, self.projection_DV))
        return unit_on_grid(seen_NV) if self.unit else seen_NV


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """One version. `version` sorts by age; `about` says how it was made and how it fitted then."""

    version: str
    stages: tuple[Level, ...]
    maps: Mapping[str, ModalityMap]
    words: WordMap | None = None
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def levels(self) -> int:
        """Codes per item."""
        return len(self.stages)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return tuple(len(stage.points_WD) for stage in self.stages)

    @property
    def dimensions(self) -> int:
        """D, the width of a fused vector."""
        return int(self.stages[0].points_WD.shape[1])

    @property
    def sequence(self) -> int:
        """The version's number: 0 for the first."""
        return int(self.version.split("-")[1])

    def fuse(self, parts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Unit rows x_ND (float32, on the grid) for items given as modality → vector; zeros for an item with no vector.

        A modality that is absent adds nothing: the direction is that of the rest. One that this version has no map for
        is projected at random, and only if the item has nothing better: all of version zero, and what is new later.
        """
        blocks = [self._fuse(parts[start : start + _BLOCK]) for start in range(0, len(parts), _BLOCK)]
        return np.concatenate(blocks) if blocks else np.zeros((0, self.dimensions), np.float32)

    def _fuse(self, parts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        x_ND = np.zeros((len(parts), self.dimensions))
        kinds = sorted({(name, len(vector)) for part in parts for name, vector in part.items() if name != WORDS})
        learned = [kind for kind in kinds if self.knows(*kind)]
        for name, width in learned:
            self._add(x_ND, parts, name, width, self.maps[name], None)
        if self.words is not None:
            self._add_words(x_ND, parts, self.words)
        bare_N = np.abs(x_ND).max(axis=1, initial=0.0) == 0
        if bare_N.any():
            for name, width in kinds:
                if (name, width) not in learned:
                    self._add(x_ND, parts, name, width, random_map(name, width, self.dimensions, self.seed), bare_N)
        return unit_on_grid(x_ND).astype(np.float32)

    def _add_words(self, x_ND: np.ndarray, parts: Sequence[Mapping[str, np.ndarray]], words: WordMap) -> None:
        """The aligned block is what the modalities and the words say together; each block has its share again."""
        share = max(mapped.share for mapped in self.maps.values())
        content, aligned = np.split(x_ND, [self.dimensions - words.meaning_VA.shape[1]], axis=1)  # views
        aligned[:] = unit_on_grid(on_grid(aligned / np.sqrt(share)) + words(parts)) * np.sqrt(share)
        content[:] = unit_on_grid(content) * np.sqrt(1 - share)

    def knows(self, name: str, width: int) -> bool:
        """Whether this version has a map for vectors of this width of a modality."""
        return name in self.maps and len(self.maps[name].mean_I) == width

    @staticmethod
    def _add(
        x_ND: np.ndarray,
        parts: Sequence[Mapping[str, np.ndarray]],
        name: str,
        width: int,
        mapped: ModalityMap,
        only_N: np.ndarray | None,
    ) -> None:
        rows, x_MI = stack_parts(parts, name, width)
        if only_N is not None:
            rows, x_MI = rows[only_N[rows]], x_MI[only_N[rows]]
        x_ND[rows] += on_grid(mapped.weight * mapped(x_MI))

    def assign(self, x_ND: np.ndarray) -> np.ndarray:
        """Codes (N, levels) int32 of fused rows."""
        codes_NL = np.empty((len(x_ND), self.levels), np.int32)
        for start in range(0, len(x_ND), _BLOCK):
            codes_BL = codes_NL[start : start + _BLOCK]
            residual_BD = on_grid(x_ND[start : start + _BLOCK])
            for level, stage in enumerate(self.stages):
                codes_BL[:, level] = stage.code(residual_BD)
                residual_BD -= stage.points_WD[codes_BL[:, level]]
        return codes_NL

    def assign_parts(self, parts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Codes (N, levels) int32 of items given as modality → vector."""
        return self.assign(self.fuse(parts))

    def reconstruct(self, codes_NL: np.ndarray) -> np.ndarray:
        """The point (N, D) float32 that codes stand for; fewer columns than levels: that of a prefix."""
        x_ND = np.zeros((len(codes_NL), self.dimensions))
        for level in range(np.shape(codes_NL)[1]):
            x_ND += self.stages[level].points_WD[codes_NL[:, level]]
        return x_ND.astype(np.float32)

    def quantization_error(self, x_ND: np.ndarray) -> np.ndarray:
        """Squared distance of each fused row (of length 1) to the point of its codes: 0 is perfect (shape N)."""
        error_N: np.ndarray = np.square(x_ND - self.reconstruct(self.assign(x_ND))).sum(axis=1)
        return error_N


def suffix_of(item_id: str) -> int:
    """31 bits of a stable hash of the id: tells items with equal codes apart on every worker alike."""
    return int.from_bytes(blake2b(item_id.encode(), digest_size=4, person=b"suffix").digest(), "little") & 0x7FFFFFFF


def widths_of(settings: Settings) -> tuple[int, ...]:
    """Codes per level that the settings ask for."""
    book = settings.codebook
    return tuple(max(book.width >> level, 2) if book.halving else book.width for level in range(book.levels))


def widths_for(settings: Settings, items: int, first: int | None = None) -> tuple[int, ...]:
    """Codes per level that a catalogue of so many different items has use for, as many as the settings ask for at most:
    of the first level one for each `ITEMS_A_TOPIC` (or `first`), of later ones so many that `PATHS_AN_ITEM` come upon
    each item. With more, every item would have a first code of its own, and later levels nothing to tell apart."""
    most = widths_of(settings)
    first = min(most[0], max(2, items // ITEMS_A_TOPIC if first is None else first))
    later = int(np.ceil((PATHS_AN_ITEM * max(items, 1) / first) ** (1 / max(1, len(most) - 1))))
    return (first, *(min(width, max(2, later, first)) for width in most[1:]))


def outgrown(book: Codebook, items: int, settings: Settings) -> bool:
    """Whether the catalogue has use for four times as many first codes as when the version was made, or at last for as
    many as the settings ask for."""
    made = int(book.about.get("items") or 0)
    if not made or book.widths == widths_of(settings):
        return False
    then, now, most = (one[0] for one in (widths_for(settings, made), widths_for(settings, items), widths_of(settings)))
    return now >= 4 * then or now == most >= 2 * then


@lru_cache(maxsize=64)
def random_map(name: str, width: int, dimensions: int, seed: int) -> ModalityMap:
    """A random projection that the modality's name, its width and the seed decide, the same in every process."""
    digest = blake2b(f"{name}:{width}:{dimensions}:{seed}".encode(), digest_size=8, person=b"map").digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    content_IC = random.standard_normal((width, dimensions)) / np.sqrt(dimensions)
    return ModalityMap(mean_I=np.zeros(width), content_IC=on_grid(content_IC))


def zero_codebook(settings: Settings) -> Codebook:
    """Version zero: needs no data. Random projections, and per level random directions (an LSH: items in one cell of
    random directions are near). The last level looks at few directions, as learned versions do."""
    random = np.random.Generator(np.random.PCG64(settings.codebook.seed))
    widths = widths_of(settings)
    stages, left = [], 1.0
    for level, width in enumerate(widths):
        points_WD = random.standard_normal((width, ZERO_WIDTH))
        points_WD /= np.linalg.norm(points_WD, axis=1, keepdims=True)
        # the largest of W random cosines in D dimensions: the step that leaves least over, on average
        step = left * min(np.sqrt(2 * np.log(width) / ZERO_WIDTH), 1.0)
        last = level == len(widths) - 1 and level > 0
        projection_DV = np.eye(ZERO_WIDTH)[:, :LAST_WIDTH] if last else None
        seeds_WV = on_grid(points_WD * step)
        if last:
            seeds_WV = unit_on_grid(points_WD[:, :LAST_WIDTH])
            points_WD[:, LAST_WIDTH:] = 0.0
        stages.append(Level(seeds_WV, np.zeros(width), on_grid(points_WD * step), projection_DV, unit=last))
        left = np.sqrt(max(left**2 - step**2, 0.0))
    return Codebook(
        version=ZERO_VERSION,
        stages=tuple(stages),
        maps=MappingProxyType({}),
        seed=settings.codebook.seed,
        about=MappingProxyType({"method": "zero", "parent": None}),
    )
