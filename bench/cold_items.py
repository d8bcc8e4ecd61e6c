"""Cold items: first engagements ranked among the untouched live items, by content, by codes, and by two references."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from bench.recorded_stream import RECENT, Stream
from trainer.content.vectors import unit_rows
from trainer.semantic_ids.alignment import Pairs, pairs_of
from trainer.semantic_ids.training import CONTENT


@dataclass(frozen=True, slots=True)
class ColdEvent:
    """The first engagement of an item: the items it competes with, and what the user took before."""

    item: int
    candidates: np.ndarray
    history: np.ndarray


def cold_events(stream: Stream, most: int = 3000, seed: int = 0) -> list[ColdEvent]:
    """First engagements in the judged part."""
    untouched_N = np.ones(len(stream.uploads), bool)
    histories: dict[int, list[int]] = {}
    events = []
    rows = zip(stream.user_E.tolist(), stream.item_E.tolist(), stream.at_E.tolist(), strict=True)
    for place, (user, item, at) in enumerate(rows):
        history = histories.setdefault(user, [])
        if place >= stream.half and untouched_N[item] and stream.uploaded_at_N[item] <= at:
            candidates = np.flatnonzero(untouched_N & (stream.uploaded_at_N <= at))
            events.append(ColdEvent(item, candidates, np.array(history[-RECENT:], dtype=np.int64)))
        untouched_N[item] = False
        history.append(item)
    if len(events) > most:
        drawn = np.random.default_rng(seed).choice(len(events), most, replace=False)
        events = [events[index] for index in sorted(drawn)]
    return events


def cold_hits(events: Sequence[ColdEvent], score: Callable[[ColdEvent], np.ndarray], k: int = 10) -> np.ndarray:
    """Per event the expected hit@k (ties in random order)."""
    hits = np.zeros(len(events))
    for index, event in enumerate(events):
        score_C = score(event) if len(event.history) else np.zeros(len(event.candidates))
        true = score_C[event.candidates == event.item][0]
        better, equal = (score_C > true).sum(), (score_C == true).sum()
        hits[index] = np.clip((k - better) / equal, 0, 1)
    return hits


Score = Callable[[ColdEvent], np.ndarray]


def nearness(x_ND: np.ndarray | sparse.csr_matrix) -> Score:
    """Candidates by their similarity to the recent items: the mean (recent ones more) and half the best."""
    rows = x_ND if sparse.issparse(x_ND) else unit_rows(x_ND)

    def score(event: ColdEvent) -> np.ndarray:
        product = rows[event.history] @ rows[event.candidates].T
        similar_HC = product.toarray() if sparse.issparse(product) else product
        weight_H = 0.85 ** np.arange(len(event.history))[::-1]
        score_C: np.ndarray = weight_H @ similar_HC / weight_H.sum() + 0.5 * similar_HC.max(axis=0)
        return score_C

    return score


def through_codes(
    codes_NL: np.ndarray, pairs: Pairs, x_ND: np.ndarray, words_NV: sparse.csr_matrix, share: float = 0.1
) -> Score:
    """Nearness of content and of words, half as much of the aligned block, and `share` of the log-lift between first
    codes in training."""
    near = [(1.0, nearness(x_ND[:, :CONTENT])), (1.0, nearness(words_NV))]
    if x_ND.shape[1] > CONTENT:
        near.append((0.5, nearness(x_ND[:, CONTENT:])))
    width = int(codes_NL[:, 0].max()) + 1
    seen_WW = np.zeros((width, width))
    np.add.at(seen_WW, (codes_NL[pairs.earlier_P, 0], codes_NL[pairs.later_P, 0]), pairs.chance_P * len(pairs))
    by_chance_WW = seen_WW.sum(axis=1)[:, None] * seen_WW.sum(axis=0)[None] / max(seen_WW.sum(), 1.0)
    lift_WW = np.log((seen_WW + _DOUBT) / (by_chance_WW + _DOUBT))

    def score(event: ColdEvent) -> np.ndarray:
        lift_HC = lift_WW[codes_NL[event.history, 0]][:, codes_NL[event.candidates, 0]]
        weight_H = 0.85 ** np.arange(len(event.history))[::-1]
        score_C = share * (weight_H @ lift_HC) / weight_H.sum()
        for weight, nearest in near:
            score_C = score_C + weight * nearest(event)
        return np.asarray(score_C)

    return score


_DOUBT = 3.0
"""Pairs of codes seen less often than this say little."""


def tfidf(texts: Sequence[str], dimensions: int = 128) -> np.ndarray:
    """Unit rows: TF-IDF of words, reduced."""
    words: dict[str, int] = {}
    cells = [
        (i, words.setdefault(w, len(words))) for i, t in enumerate(texts) for w in set(re.findall(r"\w+", t.lower()))
    ]
    rows, columns = np.array(cells).T
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), len(words)))
    weighted = counts @ sparse.diags(np.log(len(texts) / np.asarray(counts.sum(axis=0)).ravel()))
    norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    u, s, _ = svds(sparse.diags(1 / np.maximum(norm, 1e-9)) @ weighted, min(dimensions, len(words) - 1), random_state=0)
    return unit_rows(u * s)


def cooccurrence_ridge(stream: Stream, x_ND: np.ndarray, penalty: float = 10.0) -> np.ndarray:
    """Content mapped by ridge regression into an SVD (64) of the PPMI of co-engagement in the training part."""
    pairs = pairs_of(stream.sequences(), most_apart=5)
    shape = (len(stream.uploads),) * 2
    both = sparse.csr_matrix((pairs.chance_P, (pairs.earlier_P, pairs.later_P)), shape=shape)
    both = (both + both.T).tocoo()
    share = np.asarray(both.sum(axis=1)).ravel()
    smooth = share**0.75 / (share**0.75).sum()
    pmi = np.log(both.data / np.maximum(share[both.row] * smooth[both.col], 1e-30))
    keep = pmi > 0
    u, s, _ = svds(sparse.csr_matrix((pmi[keep], (both.row[keep], both.col[keep])), shape=shape), 64, random_state=0)
    warm = share > 0
    x_MD, y_MA = x_ND[warm], (u * np.sqrt(s))[warm]
    scale = penalty * np.square(x_MD).sum() / x_MD.shape[1] / len(x_MD)
    return unit_rows(x_ND @ np.linalg.solve(x_MD.T @ x_MD + scale * np.eye(x_MD.shape[1]), x_MD.T @ y_MA))
