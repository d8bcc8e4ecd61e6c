"""The spectral embedding of items: where behaviour puts an item, and where its content says it will be put.

The axes are the leading eigenvectors of the degree-normalised co-occurrence graph, found by a few warm-started
subspace iterations (Halko et al. 2011) from the transitions in the catalogue. An item's behavioural vector is its
neighbours' axes, averaged with the same normalisation, so it is folded in anew at every new row at the cost of its own
edges. A ridge regression maps content onto these vectors; what it predicts stands in for behaviour until there is some,
and gives way as evidence comes.

Invariant: a fit is a function of the catalogue, the previous axes and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import sparse

from trainer.items.byte_vectors import ByteVectors
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import ContentVectors

Rows = np.ndarray | ByteVectors
_STRIDE = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class SpectralRules:
    """`width` axes; `iterations` of subspace iteration at a fit; a fit is due when positives grew by `growth`; content
    counts as `prior` engagements."""

    width: int = 64
    content_width: int = 128
    iterations: int = 3
    ridge: float = 10.0
    prior: float = 3.0
    growth: float = 0.12
    min_positives: int = 300
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit found: orthonormal `basis_ND`, `axes_ND` to fold with, `map_CD` from content (and a
    constant, its last row) to the embedding."""

    basis_ND: ByteVectors
    axes_ND: ByteVectors
    map_CD: np.ndarray
    positives: float


class SpectralEmbedding:
    """The vectors of a catalogue's items: unit rows, zero where nothing is known."""

    def __init__(self, content: ContentVectors, rules: SpectralRules = SpectralRules()) -> None:
        self.content, self.catalog = content, content.catalog
        self.rules = rules
        self.fit: Fit | None = None
        self._touched: set[int] | None = None
        capacity = len(self.catalog.live_N)
        self.x_ND = ByteVectors(capacity, rules.width)
        self.content_ND = ByteVectors(capacity, rules.width)

    def due(self) -> bool:
        """Whether enough was learned since the last fit for another."""
        if self.fit is None:
            return self.catalog.positives >= self.rules.min_positives
        return self.catalog.positives >= self.fit.positives * (1.0 + self.rules.growth)

    def refit(self) -> None:
        """Fits the axes anew and places every item. Costs about a second per 10,000 items and million edges; may run
        in another thread: what is placed meanwhile is placed once more."""
        catalog, size = self.catalog, len(self.catalog)
        self._touched = set()
        projection, content_NC = self.content.refitted(size)
        found, behaviour_ND, says_ND = fit(catalog, content_NC, size, self.rules, self.fit)
        capacity = max(len(content_NC), len(catalog.live_N))
        content_ND = ByteVectors.of(says_ND, capacity)
        x_ND = ByteVectors.of(self._blend(size, behaviour_ND, says_ND), capacity)
        touched, self._touched = self._touched, None
        self.fit, self.content_ND, self.x_ND = found, content_ND, x_ND
        self.content.adopt(projection, content_NC)
        for handle in touched:
            self.describe(handle)

    def describe(self, handle: int) -> None:
        """Places one item by what its new card says, and its row."""
        self._reserve()
        if self.content.describe(handle) and self.fit is not None:
            self.content_ND[handle] = mapped(self.content.x_NC[handle], self.fit.map_CD)
        self.place(handle)

    def place(self, handle: int) -> None:
        """Places one item by what its new row says."""
        if self._touched is not None:
            self._touched.add(handle)
        self._reserve()
        if self.fit is None:
            return
        behaviour_D, content_D = self._fold(handle, self.fit.axes_ND), self.content_ND[handle]
        evidence = float(self.catalog.positives_N[handle])
        share = evidence / (evidence + self.rules.prior)
        x_D = (share / _length(behaviour_D)) * behaviour_D + (1.0 - share) * content_D  # what `_blend` does, for one
        self.x_ND[handle] = x_D / _length(x_D)

    def place_many(self, handle_R: np.ndarray) -> None:
        """Places some items, each once, by what their new rows say."""
        if self._touched is not None:
            self._touched.update(handle_R.tolist())
        self._reserve()
        if self.fit is not None and len(handle_R):
            behaviour_RD = unit(self._fold_many(handle_R, self.fit.axes_ND))
            self.x_ND[handle_R] = unit(self._blended(handle_R, behaviour_RD, self.content_ND[handle_R]))

    def _blend(self, size: int, behaviour_ND: np.ndarray, content_ND: np.ndarray) -> np.ndarray:
        return unit(self._blended(slice(0, size), behaviour_ND, content_ND))

    def _blended(self, handles: np.ndarray | slice, behaviour_HD: np.ndarray, content_HD: np.ndarray) -> np.ndarray:
        evidence_H = self.catalog.positives_N[handles]
        share_H1 = np.asarray(evidence_H / (evidence_H + self.rules.prior))[:, None]
        return np.asarray(share_H1 * behaviour_HD + (1.0 - share_H1) * content_HD)

    def _fold(self, handle: int, axes_ND: ByteVectors) -> np.ndarray:
        transitions = self.catalog.transitions
        (source_E, in_E), (target_E, out_E) = transitions.into(handle), transitions.out_of(handle)
        item_E, log_E = np.concatenate([source_E, target_E]), np.concatenate([in_E, out_E])
        if len(self.catalog) > len(axes_ND):
            log_E, item_E = log_E[item_E < len(axes_ND)], item_E[item_E < len(axes_ND)]
        weight_E = np.exp2(np.maximum(log_E - np.float32(self.catalog.heaviest), np.float32(-60.0)))
        return np.asarray(weight_E @ axes_ND[item_E])

    def _fold_many(self, handle_R: np.ndarray, axes_ND: ByteVectors) -> np.ndarray:
        """`_fold` of many items: their transitions as sparse matrices."""
        found_RD = np.zeros((len(handle_R), axes_ND.shape[1]), np.float32)
        for count_R, item_E, log_E in self.catalog.transitions.ends_of(handle_R):
            weight_E = np.exp2(np.maximum(log_E - np.float32(self.catalog.heaviest), np.float32(-60.0)))
            weight_E[outside_E := item_E >= len(axes_ND)] = 0.0
            item_E = np.where(outside_E, 0, item_E)
            indptr = np.concatenate([[0], np.cumsum(count_R)])
            item_U, place_E = np.unique(item_E, return_inverse=True)
            found_RD += sparse.csr_matrix((weight_E, place_E, indptr), (len(handle_R), len(item_U))) @ axes_ND[item_U]
        return found_RD

    def _reserve(self) -> None:
        self.content.reserve()
        self.content_ND.reserve(len(self.catalog.live_N))
        self.x_ND.reserve(len(self.catalog.live_N))


def _length(x_D: np.ndarray) -> float:
    return max(sqrt(float(x_D @ x_D)), 1e-30)


def unit(x_ND: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; zero rows stay zero."""
    norm = np.sqrt(np.einsum("...d,...d->...", x_ND, x_ND))[..., None]
    return np.asarray(x_ND / np.maximum(norm, 1e-30), np.float32)


def graph(catalog: Catalog, size: int) -> sparse.csr_matrix:
    """Symmetric co-occurrence among the first `size` handles, in weights relative to the catalogue's heaviest."""
    source_E, target_E, log_E = catalog.transitions.all()
    inside_E = (source_E < size) & (target_E < size)
    source_E, target_E = source_E[inside_E], target_E[inside_E]
    weight_E = np.exp2(np.maximum(log_E[inside_E] - catalog.heaviest, -60.0)) if len(source_E) else np.zeros(0)
    half = sparse.coo_matrix((weight_E, (target_E, source_E)), shape=(size, size)).tocsr()
    return (half + half.T).tocsr().astype(np.float32)


def fit(
    catalog: Catalog, content_NC: Rows, size: int, rules: SpectralRules, previous: Fit | None
) -> tuple[Fit, np.ndarray, np.ndarray]:
    """The axes and the content map of the first `size` items, as they are; where behaviour puts these, and where
    content says that they lie."""
    positives = catalog.positives
    a_NN = graph(catalog, size)
    degree_N = np.asarray(a_NN.sum(axis=1)).ravel()
    inverse_N = np.where(degree_N > 0, 1.0 / np.sqrt(np.maximum(degree_N, 1e-30)), 0.0).astype(np.float32)
    scale = sparse.diags(inverse_N)
    m_NN = (scale @ a_NN @ scale).astype(np.float32)
    q_ND = np.random.default_rng(rules.seed).standard_normal((size, rules.width), np.float32) / np.float32(
        np.sqrt(size)
    )
    if previous is not None:
        q_ND *= 0.1
        q_ND[: len(previous.basis_ND)] += previous.basis_ND[:]
    for _ in range(rules.iterations):
        q_ND[:, :size] = np.linalg.qr(m_NN @ q_ND + q_ND)[0]  # shifted to be definite: the largest come first
    axes_ND = np.asarray(q_ND * inverse_N[:, None], np.float32)
    behaviour_ND = unit(a_NN @ axes_ND)
    map_CD, says_ND = content_map(content_NC, behaviour_ND, catalog.positives_N[:size], rules.ridge)
    found = Fit(ByteVectors.of(q_ND, size), ByteVectors.of(axes_ND, size), map_CD, positives)
    return found, behaviour_ND, unit(says_ND)


def content_map(content_NC: Rows, x_ND: Rows, evidence_N: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of behaviour on content, items (N, as many as there is evidence of) weighing by saturating
    evidence; and what it says of each item, of those that it learned from as if it had not (the leave-one-out residual
    of a linear smoother is its residual over 1 - leverage: Allen 1974). Otherwise content would look as telling for
    every item as it is for those it was fitted to, and rankers would trust it too much where there is nothing else."""
    size, width = len(evidence_N), x_ND.shape[1]
    known = np.flatnonzero(evidence_N >= 3)
    known = known[content_NC[known].any(axis=1)]
    if len(known) < 10:
        map_CD = np.zeros((content_NC.shape[1] + 1, width), np.float32)
        return map_CD, np.zeros((size, width), np.float32)
    weight = np.sqrt(evidence_N[known] / (evidence_N[known] + 10.0))[:, None]
    c_KC, x_KD = with_constant(content_NC[known]) * weight, x_ND[known] * weight
    gram_CC = c_KC.T @ c_KC + ridge * np.eye(c_KC.shape[1], dtype=np.float32)
    solved = np.linalg.solve(gram_CC, np.concatenate([c_KC.T @ x_KD, c_KC.T], axis=1))
    map_CD = np.array(solved[:, :width], np.float32)  # a copy: a view would keep what was solved for every item
    leverage_K = np.einsum("kc,ck->k", c_KC, solved[:, width:])
    says_ND = np.empty((size, width), np.float32)
    for start in range(0, size, _STRIDE):
        some = slice(start, min(size, start + _STRIDE))
        says_ND[some] = predicted(content_NC[some], map_CD)
    residual_KD = x_ND[known] - says_ND[known]
    says_ND[known] -= (leverage_K / np.maximum(1.0 - leverage_K, 0.1))[:, None] * residual_KD
    return map_CD, says_ND


def predicted(content_NC: np.ndarray, map_CD: np.ndarray) -> np.ndarray:
    """What a map says of content: the less it tells, the shorter; zeros for items without."""
    x_ND = with_constant(content_NC) @ map_CD
    return np.asarray(np.where(content_NC.any(axis=-1, keepdims=True), x_ND, 0.0), np.float32)


def mapped(content_NC: np.ndarray, map_CD: np.ndarray) -> np.ndarray:
    """Where content says that items lie; nowhere for items without."""
    return unit(predicted(content_NC, map_CD))


def with_constant(content_NC: np.ndarray) -> np.ndarray:
    """Content with one more column that is the same for all."""
    constant = np.full((*content_NC.shape[:-1], 1), 0.5, np.float32)
    return np.concatenate([content_NC, constant], axis=-1)
