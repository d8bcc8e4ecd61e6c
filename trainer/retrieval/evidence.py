"""Evidence: what every source says of the items, for one taste and query.

Transitions, words and repeats speak of few items: those have scores (`Scored`), others none. Vectors are near to all
items: their sources are asked for the items at hand, and for the nearest by one look at a byte of each of their numbers
(`trainer.items.byte_vectors`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.items.byte_vectors import ByteVectors
from trainer.items.catalog import Catalog
from trainer.items.published_vectors import PublishedVectors
from trainer.items.spectral_embedding import SpectralEmbedding, unit
from trainer.retrieval.edges import Edges
from trainer.retrieval.lexical import LexicalIndex
from trainer.retrieval.scored import Scored, grouped, silent, summed
from trainer.retrieval.search import Query
from trainer.retrieval.taste import CandidateRules, Taste
from trainer.retrieval.top import top

_DIRECTED = {(0, 0): "after_last", (0, 1): "before_last", (1, 0): "after_second", (2, 0): "after_third"}
_TRANSITIONS = ("together", "follows", "counts", *_DIRECTED.values())
_HEAT_OF_COSINE = -2
_COUNT_PER_DOUBT = 0.36
"""Transitions are counted in doubts, of which one is what a purchase weighs: `counts` is the mean of log(1 + .36 c)
over the recent items (PCTM, Petrov et al., RecSys 2026), each place weighing `COUNT_DECAY` of the one before."""
COUNT_DECAY = 0.6
_COUNTS_PER_COSINE = 4.0
"""What a cosine of words weighs beside counts: chosen on the item before the last of amazon-beauty's leave-one-out."""
WORDS_DECAY = 0.6
WORDS_ITEMS = 10
_VECTORS = ("spectral_taste", "spectral_last", "vector_taste", "vector_last", "content_spectral", "content_taste")


class Space:
    """The vectors of all items, and a few (K × D) that they are asked to be near to: one look at all for these."""

    def __init__(self, x_ND: ByteVectors, *to: np.ndarray) -> None:
        self.x_ND, self.to_KD = x_ND, np.stack(to)
        self._all_KN = np.zeros((0, 0), np.float32)

    def all(self, size: int) -> np.ndarray:
        """The products of the first items with each (K × N)."""
        if not len(self._all_KN):
            self._all_KN = self.x_ND.products(self.to_KD, size)
        return self._all_KN

    def hold(self, all_KN: np.ndarray) -> None:
        """Takes these products, which were found together with others'."""
        self._all_KN = all_KN


@dataclass(frozen=True, slots=True)
class Near:
    """All items by their product with one vector of those that their space is asked for."""

    space: Space
    number: int = 0

    @property
    def x_ND(self) -> ByteVectors:
        return self.space.x_ND

    @property
    def to_D(self) -> np.ndarray:
        """The vector."""
        return np.asarray(self.space.to_KD[self.number])

    def of(self, handles_B: np.ndarray) -> np.ndarray:
        """The products of some items (B)."""
        return self.products(self.x_ND[handles_B])

    def products(self, x_BD: np.ndarray) -> np.ndarray:
        """The products of some vectors (B): of each the same number whichever others are with it. A matrix product does
        not promise that, and places among others rest on it."""
        return np.asarray(np.einsum("bd,d->b", x_BD, self.to_D))

    def top(self, allowed_N: np.ndarray, k: int) -> np.ndarray:
        """Handles of the k nearest above 0 among the allowed, best first."""
        return top(self.space.all(len(allowed_N))[self.number], allowed_N, k)


@dataclass(frozen=True, slots=True)
class Ties:
    """What transitions say (E): of which item, from which place (of the history, or the handle of a hop), how much by
    each source."""

    item_E: np.ndarray
    place_E: np.ndarray
    weights: dict[str, np.ndarray]


_NO_TIES = Ties(np.zeros(0, np.int64), np.zeros(0, np.int64), {})


class Evidence:
    """What the sources say, of the first `size` handles. `near`: the sources that are vectors; none without a
    history. `ties` and `hops`: what transitions from the history, and from where these lead, add up to."""

    def __init__(
        self,
        catalog: Catalog,
        spectral: SpectralEmbedding,
        published: PublishedVectors,
        taste: Taste,
        rules: CandidateRules,
        query: Query | None = None,
        lexical: LexicalIndex | None = None,
    ) -> None:
        self.catalog, self.spectral, self.published, self.taste, self.rules = catalog, spectral, published, taste, rules
        self.query, self.content = query, spectral.content
        vectors_ND, expected_ND = published.x_ND, published.expected_ND
        self.size = min(len(catalog), len(spectral.x_ND), len(self.content.x_NC), len(vectors_ND), len(expected_ND))
        self.vector_D = np.zeros(vectors_ND.shape[1], np.float32)
        self.near = self._nearness()
        self.ties = self.hops = _NO_TIES
        self.lexical = lexical
        self._scored = {"repeats": taste.repeats.scored(self.size), **dict.fromkeys(_TRANSITIONS, self._transitions())}
        self._scored["two_hops"] = self._two_hops()
        self._scored |= self._words(lexical)

    @property
    def sources(self) -> Sequence[str]:
        """The names of all that says anything, or nothing."""
        return (*self._scored, "query", *_VECTORS)

    def of(self, name: str, handles_B: np.ndarray) -> np.ndarray:
        """What a source says of some items (B); `counts_and_words`: what two say together."""
        if name == "counts_and_words":
            return self.of("counts", handles_B) + _COUNTS_PER_COSINE * self.of("words", handles_B)
        if name in self._scored:
            return self._scored[name].of(name, handles_B)
        if name in self.near:
            return self.near[name].of(handles_B)
        if name == "query" and self.query is not None:
            return self.query.relevance(self.content.x_NC, handles_B)
        return np.zeros(len(handles_B), np.float32)

    def top(self, name: str, allowed_N: np.ndarray, k: int) -> np.ndarray:
        """Handles of the k items of which a source says most, above 0 and among the allowed, best first."""
        if name in self._scored:
            scored = self._scored[name]
            allowed_M = allowed_N[scored.handles_M]
            return np.asarray(scored.handles_M[top(scored.columns[name], allowed_M, k)])
        if name in self.near:
            return self.near[name].top(allowed_N, k)
        if name == "query" and self.query is not None:
            return self._answering(self.query, allowed_N, k)
        return np.zeros(0, np.int64)

    def _answering(self, query: Query, allowed_N: np.ndarray, k: int) -> np.ndarray:
        """What has words of the query, and what is nearest to it in meaning: of all others none can answer better."""
        near = Near(Space(self.content.x_NC, query.vector_C)).top(allowed_N, k)
        handles, _ = grouped(np.concatenate([query.handles_M[query.handles_M < self.size], near]), self.size)
        handles = handles[allowed_N[handles]]
        return np.asarray(handles[top(self.of("query", handles), None, k)])

    def _transitions(self) -> Scored:
        """Co-engagement from the recent items: `together` by cosine, `follows` by conditional share, and the directed
        shares of the last three items on their own."""
        catalog, recent_L = self.catalog, self.taste.handles_L[: self.rules.recent]
        edges = Edges.of(catalog, recent_L, self.size)
        if not len(edges.item_E):
            return silent(*_TRANSITIONS)
        into_E = edges.into_E
        discount_E = ((1.0 + np.arange(len(recent_L))) ** -self.rules.position_power)[edges.place_E]
        heat_N = catalog.heat_NW[:, _HEAT_OF_COSINE]
        own_E = heat_N[recent_L][edges.place_E]
        norm_E = 0.5 * (np.maximum(heat_N[edges.item_E], own_E - 40) + own_E)
        decayed_E = np.exp2(np.clip(edges.log_E - catalog.heaviest, -60, 60))
        decay_L = COUNT_DECAY ** np.arange(len(recent_L))
        decay_L /= max(1.0, decay_L.sum())
        count_E = np.where(into_E, 0.0, np.log1p(_COUNT_PER_DOUBT * decayed_E) * decay_L[edges.place_E])
        weights = {
            "together": np.exp2(np.clip(edges.log_E - norm_E, -60, 60)) * discount_E,
            "follows": edges.share_E * np.where(into_E, 0.5 * discount_E, discount_E),
            "counts": count_E,
        }
        for (place, direction), name in _DIRECTED.items():
            weights[name] = edges.share_E * ((edges.place_E == place) & (into_E == bool(direction)))
        self.ties = Ties(edges.item_E, edges.place_E, weights)
        return summed(edges.item_E, self.size, weights)

    def _two_hops(self) -> Scored:
        """Where the strongest of `follows` lead in turn."""
        follows = self._scored["follows"]
        score_M = follows.columns["follows"]
        strongest = top(score_M, None, self.rules.hop_from)
        edges = Edges.of(self.catalog, follows.handles_M[strongest], self.size)
        if not len(edges.item_E):
            return silent("two_hops")
        weight_E = edges.share_E * score_M[strongest][edges.place_E]
        hop_E = follows.handles_M[strongest][edges.place_E]
        self.hops = Ties(edges.item_E, hop_E, {"two_hops": weight_E})
        return summed(edges.item_E, self.size, {"two_hops": weight_E})

    def _nearness(self) -> dict[str, Near]:
        """Where the taste lies in each space, and where the last item does. None without a history."""
        handles_L = self.taste.handles_L
        if not len(handles_L):
            return {}
        discount_L = ((1.0 + np.arange(len(handles_L))) ** -self.rules.position_power).astype(np.float32)
        spectral, published, content = self.spectral, self.published, self.content
        x_ND, vectors_ND, content_NC = spectral.x_ND, published.x_ND, content.x_NC
        mean_D = unit(discount_L @ x_ND[handles_L])
        self.vector_D = unit(discount_L @ vectors_ND[handles_L])
        near_L = handles_L[: self.rules.near]
        mean_C = unit(discount_L[: len(near_L)] @ content_NC[near_L])
        by_behaviour = Space(x_ND, mean_D, x_ND[handles_L[0]])
        learned = Space(vectors_ND, self.vector_D, vectors_ND[handles_L[0]])
        return {
            "spectral_taste": Near(by_behaviour),
            "spectral_last": Near(by_behaviour, 1),
            "vector_taste": Near(learned),
            "vector_last": Near(learned, 1),
            "content_spectral": Near(Space(spectral.content_ND, mean_D)),
            "content_taste": Near(Space(content_NC, mean_C)),
        }

    def _words(self, lexical: LexicalIndex | None) -> dict[str, Scored]:
        """Likeness of words to the recent items, and to the last."""
        recent_L = self.taste.handles_L[:WORDS_ITEMS]
        if lexical is None or not len(recent_L):
            return {name: silent(name) for name in ("words", "words_last")}
        weights_L = WORDS_DECAY ** np.arange(len(recent_L))
        return {
            "words": lexical.likeness("words", recent_L, weights_L / weights_L.sum(), self.size),
            "words_last": lexical.likeness("words_last", recent_L[:1], np.ones(1), self.size),
        }


def look_together(evidences: Sequence[Evidence]) -> None:
    """One look at the items of each space for all who ask for it: of four a third of the cost, and the same numbers."""
    asking: dict[int, list[tuple[Space, int]]] = defaultdict(list)
    for evidence in evidences:
        for space in {id(near.space): near.space for near in evidence.near.values()}.values():
            asking[id(space.x_ND)].append((space, evidence.size))
    for spaces in asking.values():
        size = max(size for _, size in spaces)
        all_KN = spaces[0][0].x_ND.products(np.concatenate([space.to_KD for space, _ in spaces]), size)
        ends = np.cumsum([len(space.to_KD) for space, _ in spaces])
        for (space, own), end in zip(spaces, ends.tolist(), strict=True):
            space.hold(all_KN[end - len(space.to_KD) : end, :own])
