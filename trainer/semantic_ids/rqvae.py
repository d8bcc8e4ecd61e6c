"""The residual-quantised encoder, trained in torch: content blocks are fixed; the aligned map and codes are learned.

One step takes pairs of co-engaged items (or, without behaviour, random items) and adds up
- contrastive: the aligned blocks of a pair find each other, and so do the points that their codes stand for;
- reconstruction: a decoder rebuilds the standardised content from the quantised row, at a random depth (prefix masking:
  every prefix has to mean something, not only the whole ID);
- commitment: a row keeps near its point, and the point (codebook loss) near its rows.
Codes that die are reset onto rows that are served worst (RQ-VAE, arXiv 2203.01941; standardised inputs and resets are
what keeps it from collapsing). The levels that serve are fitted to the trained rows by `residual_kmeans` afterwards.

Invariant: with equal inputs and seed on one machine the result is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from trainer.semantic_ids.alignment import ALIGNED, DROPOUT, AlignedMap, Pairs, contrastive
from trainer.semantic_ids.residual_kmeans import Progress, means, plus_plus

BATCH = 512
_COMMITMENT = 0.25
_RECONSTRUCTION = 0.5
_QUANTISED = 0.5
_RESET_EVERY = 50
_RATE = 3e-3
_WORD_SCALE = 0.02
"""Words begin near zero: the text vector speaks first."""
_SAMPLE = 20_000
"""Items that codes are started from; more would not place them better."""
_WARM_UP = 0.5
"""The share of the steps before quantisation begins: codes fitted to an untrained map are soon wrong."""


@dataclass(frozen=True, slots=True)
class Standardised:
    """One modality of the training items: rows p_MC (unit, standardised) and the item that each belongs to."""

    rows_M: np.ndarray
    p_MC: np.ndarray
    weight: float = 1.0


class QuantisedEncoder(nn.Module):
    """Aligned maps of all modalities, codebooks, and the decoder that training needs."""

    def __init__(
        self,
        modalities: Mapping[str, Standardised],
        items: int,
        widths: Sequence[int],
        share: float,
        words: csr_matrix | None = None,
    ) -> None:
        super().__init__()
        self.share = share
        self.items = items
        self.content = max((known.p_MC.shape[1] for known in modalities.values()), default=0)
        self.maps = nn.ModuleDict({name: AlignedMap(known.p_MC.shape[1]) for name, known in modalities.items()})
        self.codes = nn.ParameterList([torch.zeros(width, self.content + ALIGNED) for width in widths])
        self.decoder = nn.Linear(self.content + ALIGNED, self.content)
        self.words = None if words is None else nn.Parameter(_WORD_SCALE * torch.randn(words.shape[1], ALIGNED))
        self._words_NV = words
        self._place = {name: np.full(items, -1, np.int64) for name in modalities}
        self._rows = {name: torch.tensor(known.p_MC, dtype=torch.float32) for name, known in modalities.items()}
        self._weight = {name: known.weight for name, known in modalities.items()}
        for name, known in modalities.items():
            self._place[name][known.rows_M] = np.arange(len(known.rows_M))

    def forward(self, items_B: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Content block (B, C), aligned block (B, A) and fused row (B, C + A), as `Codebook.fuse` makes them."""
        content_BC = torch.zeros(len(items_B), self.content)
        aligned_BA: Tensor = torch.zeros(len(items_B), ALIGNED)
        for name, aligned in self.maps.items():
            place_B = self._place[name][items_B]
            have = np.flatnonzero(place_B >= 0)
            if len(have):
                p_MC = self._rows[name][place_B[have]]
                have_M = torch.tensor(have)
                padded_MC = F.pad(p_MC, (0, self.content - p_MC.shape[1]))
                content_BC = content_BC.index_add(0, have_M, padded_MC * self._weight[name])
                aligned_BA = aligned_BA.index_add(0, have_M, aligned(p_MC) * self._weight[name])
        if self.words is not None and self._words_NV is not None:
            aligned_BA = F.normalize(aligned_BA + self._worded(items_B, self.words, self._words_NV), dim=1)
            content_BC = F.normalize(content_BC, dim=1)
        fused_BD = torch.cat([content_BC * (1 - self.share) ** 0.5, aligned_BA * self.share**0.5], dim=1)
        return content_BC, F.normalize(aligned_BA, dim=1), F.normalize(fused_BD, dim=1)

    def _worded(self, items_B: np.ndarray, words_VA: Tensor, words_NV: csr_matrix) -> Tensor:
        """What the items' words say (B, A)."""
        rows = words_NV[items_B]
        weight_M = F.dropout(torch.tensor(rows.data, dtype=torch.float32), DROPOUT, self.training)
        buckets, starts = (
            torch.tensor(rows.indices, dtype=torch.int64),
            torch.tensor(rows.indptr[:-1], dtype=torch.int64),
        )
        return F.embedding_bag(buckets, words_VA, starts, mode="sum", per_sample_weights=weight_M)

    def quantise(self, x_BD: Tensor, depth: int) -> tuple[Tensor, list[Tensor]]:
        """The point (B, D) of each row's first `depth` codes, and the codes."""
        point_BD = torch.zeros_like(x_BD)
        codes = []
        for centroids_WD in list(self.codes)[:depth]:
            residual_BD = (x_BD - point_BD).detach()
            code_B = (centroids_WD.square().sum(1) / 2 - residual_BD @ centroids_WD.T).argmin(1)
            codes.append(code_B)
            point_BD = point_BD + centroids_WD[code_B]
        return point_BD, codes


def train_encoder(
    modalities: Mapping[str, Standardised],
    items: int,
    widths: Sequence[int],
    pairs: Pairs,
    *,
    share: float,
    steps: int,
    seed: int,
    words: csr_matrix | None = None,
    progress: Progress | None = None,
) -> QuantisedEncoder:
    """Trains on `pairs` (none: content only). `words`: items by buckets, weighed."""
    torch.manual_seed(seed)
    random = np.random.Generator(np.random.PCG64(seed))
    model = QuantisedEncoder(modalities, items, widths, share, words)
    log_chance_N = torch.tensor(np.log(np.bincount(pairs.later_P, pairs.chance_P, items) + 1e-9), dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.1)
    used = [torch.zeros(width) for width in widths]
    cumulative_P = np.cumsum(pairs.chance_P)
    begin = int(steps * _WARM_UP) if len(pairs) else 0
    for step in range(steps):
        if step == begin:
            _fit_codes(model, random)
        a_B, b_B = _draw(pairs, cumulative_P, items, random)
        loss = _loss(model, a_B, b_B, log_chance_N, random, used, quantised=step >= begin, paired=len(pairs) > 0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step > begin and step % _RESET_EVERY == 0:
            _reset_dead(model, used, a_B)
        if progress and step % 10 == 9:
            progress("encoder", (step + 1) / steps)
    return model


def _draw(
    pairs: Pairs, cumulative_P: np.ndarray, items: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if not len(pairs):
        drawn_B = random.integers(0, items, BATCH)
        return drawn_B, drawn_B
    drawn_B = np.searchsorted(cumulative_P, random.random(BATCH) * cumulative_P[-1], side="right")
    drawn_B = np.minimum(drawn_B, len(pairs) - 1)
    return pairs.earlier_P[drawn_B], pairs.later_P[drawn_B]


def _loss(
    model: QuantisedEncoder,
    a_B: np.ndarray,
    b_B: np.ndarray,
    log_chance_N: Tensor,
    random: np.random.Generator,
    used: list[Tensor],
    *,
    quantised: bool,
    paired: bool,
) -> Tensor:
    content_BC, aligned_BA, x_BD = model(a_B)
    loss: Tensor = torch.zeros(())
    index_a, index_b = torch.tensor(a_B), torch.tensor(b_B)
    if paired:
        _, other_BA, other_BD = model(b_B)
        loss = contrastive(aligned_BA, other_BA, index_a, index_b, log_chance_N)
    if not quantised:
        return loss
    depth = int(random.integers(1, len(model.codes) + 1))
    point_BD, codes = model.quantise(x_BD, depth)
    for level, code_B in enumerate(codes):
        used[level] += torch.bincount(code_B, minlength=len(used[level]))
    loss = loss + (point_BD - x_BD.detach()).square().sum(1).mean()
    loss = loss + _COMMITMENT * (point_BD.detach() - x_BD).square().sum(1).mean()
    straight_BD = x_BD + (point_BD - x_BD).detach()  # gradients pass the quantiser as if it were not there
    loss = loss + _RECONSTRUCTION * (model.decoder(straight_BD) - content_BC).square().sum(1).mean()
    if paired:
        near_BD = F.normalize(straight_BD, dim=1)
        loss = loss + _QUANTISED * contrastive(near_BD, other_BD, index_a, index_b, log_chance_N)
    return loss


@torch.no_grad()
def _rows(model: QuantisedEncoder, items_M: np.ndarray) -> Tensor:
    """The fused rows of items as they will be served (without dropout)."""
    model.eval()
    rows = [model(items_M[start : start + 8192])[2] for start in range(0, len(items_M), 8192)]
    model.train()
    return torch.cat(rows)


@torch.no_grad()
def _fit_codes(model: QuantisedEncoder, random: np.random.Generator) -> None:
    """Starts the codebooks from a few steps of residual k-means on the rows as they are now."""
    sample_M = random.choice(model.items, min(model.items, _SAMPLE), replace=False)
    residual_ND = _rows(model, sample_M).numpy()
    for centroids in model.codes:
        seeds_WD = plus_plus(residual_ND, len(centroids), random)
        for _ in range(4):
            code_N = (np.square(seeds_WD).sum(1) / 2 - residual_ND @ seeds_WD.T).argmin(1)
            seeds_WD = means(residual_ND, code_N, seeds_WD)
        centroids.copy_(torch.tensor(seeds_WD))
        code_N = (np.square(seeds_WD).sum(1) / 2 - residual_ND @ seeds_WD.T).argmin(1)
        residual_ND = residual_ND - seeds_WD[code_N]


@torch.no_grad()
def _reset_dead(model: QuantisedEncoder, used: list[Tensor], items_B: np.ndarray) -> None:
    x_BD = model(items_B)[2]
    for level, count_W in enumerate(used):
        dead = torch.nonzero(count_W == 0)[:, 0]
        point_BD = model.quantise(x_BD, level)[0]
        residual_BD = x_BD - point_BD
        nearest_BD = model.quantise(x_BD, level + 1)[0] - point_BD
        worst = (residual_BD - nearest_BD).square().sum(1).argsort(descending=True)[: len(dead)]
        model.codes[level][dead[: len(worst)]] = residual_BD[worst]
        count_W.zero_()
