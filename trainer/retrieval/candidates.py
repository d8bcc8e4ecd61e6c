"""Candidates: who could be next, proposed by many cheap sources over the whole catalogue.

`Taste` is what a user's history says; `Evidence` is every source's score for every item, one dense array each, computed
once per request; `gather` takes the best of each source. A source proposes only live items that are not excluded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from store.histories import UserRow
from trainer.items.catalog import NEVER, NEWEST, Catalog, HotLists
from trainer.items.published_vectors import PublishedVectors
from trainer.items.spectral_embedding import SpectralEmbedding, unit
from trainer.retrieval.lexical import LexicalIndex
from trainer.retrieval.repeats import NOTHING, Repeats, repeats_of
from trainer.retrieval.search import Query

QUOTAS: Mapping[str, int] = {
    "follows": 150,
    "together": 150,
    "two_hops": 150,
    "after_last": 60,
    "counts": 0,
    "spectral_taste": 100,
    "spectral_last": 80,
    "vector_taste": 100,
    "vector_last": 60,
    "content_spectral": 60,
    "content_taste": 60,
    "words": 60,
    "query": 100,
    "popular": 50,
    "fresh": 30,
    "repeats": 50,
}
"""Source → how many it proposes. `popular` proposes as many for each half-life of the ladder."""

_DIRECTED = {(0, 0): "after_last", (0, 1): "before_last", (1, 0): "after_second", (2, 0): "after_third"}
_HEAT_OF_COSINE = -2
_COUNT_PER_DOUBT = 0.36
"""Transitions are counted in doubts, of which one is what a purchase weighs: `counts` is the mean of log(1 + .36 c)
over the recent items (PCTM, Petrov et al., RecSys 2026), each place weighing `_COUNT_DECAY` of the one before."""
_COUNT_DECAY = 0.6
_COUNTS_PER_COSINE = 4.0
"""What a cosine of words weighs beside counts: chosen on the item before the last of amazon-beauty's leave-one-out."""
_WORDS_DECAY = 0.6
_WORDS_ITEMS = 10
_VECTORS = ("spectral_taste", "spectral_last", "vector_taste", "vector_last", "content_spectral", "content_taste")


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateRules:
    """How deep each source goes, and how much of a history speaks: `recent` items by transitions, `long` by vectors,
    `near` by content; places weigh (1 + place) ** -power."""

    recent: int = 20
    long: int = 50
    near: int = 20
    position_power: float = 0.7
    hop_from: int = 30
    fresh_below: int = 5
    quotas: Mapping[str, int] = field(default_factory=lambda: QUOTAS)


def deeper(rules: CandidateRules, factor: float) -> CandidateRules:
    """The same rules with sources that propose `factor` times as many, one at least where they propose any."""
    if factor == 1.0:
        return rules
    return replace(rules, quotas={name: max(1, round(n * factor)) if n else 0 for name, n in rules.quotas.items()})


@dataclass(frozen=True, slots=True)
class Taste:
    """A user's positive items, newest first, as handles (each once) with their times; how many there were; what the
    user turned away; and what may be repeated."""

    handles_L: np.ndarray
    times_L: np.ndarray
    count: int
    refused_R: np.ndarray
    repeats: Repeats

    @property
    def last_at(self) -> float:
        """When the user was last seen to like something; 0 for never."""
        return float(self.times_L[0]) if len(self.times_L) else 0.0


def taste_of(
    user: UserRow | None, catalog: Catalog, rules: CandidateRules, first: int | None = None, repeats: bool = False
) -> Taste:
    """The taste of a user; `first` is the item being viewed, which then speaks before the history."""
    handles: dict[int, float] = {} if first is None else {first: 0.0}
    refused: list[int] = []
    count = 0
    for entry in user.decisions() if user is not None else ():
        handle = catalog.handles.get(entry.item_id)
        if entry.weight < 0 and handle is not None:
            refused.append(handle)
        elif entry.weight > 0:
            count += 1
            if handle is not None and len(handles) < rules.long and handle not in handles:
                handles[handle] = entry.occurred_at
    times = np.array(list(handles.values()))
    if first is not None and len(times) > 1:
        times[0] = times[1]
    repeated = repeats_of(user, catalog, rules.position_power) if repeats else NOTHING
    return Taste(np.array(list(handles), np.int64), times, count, np.array(refused[: rules.near], np.int64), repeated)


class Evidence:
    """What every source says of every item, `dense[source]` over handles, for one taste and query."""

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
        self.dense: dict[str, np.ndarray] = {}
        self.dense["repeats"] = taste.repeats.dense(self.size)
        self._transitions()
        self._two_hops()
        self._vectors(query)
        self._words(lexical)
        self.dense["counts_and_words"] = self.dense["counts"] + _COUNTS_PER_COSINE * self.dense["words"]

    def _transitions(self) -> None:
        """Co-engagement from the recent items: `together` by cosine, `follows` by conditional share, and the directed
        shares of the last three items on their own."""
        catalog, size = self.catalog, self.size
        zero_N = np.zeros(size, np.float32)
        self.dense.update((name, zero_N) for name in ("together", "follows", "counts", *_DIRECTED.values()))
        items: list[np.ndarray] = []
        cosine: list[np.ndarray] = []
        counts: list[np.ndarray] = []
        share: list[np.ndarray] = []
        heat_N = catalog.heat_NW[:size, _HEAT_OF_COSINE]
        recent_L = self.taste.handles_L[: self.rules.recent]
        decay_L = _COUNT_DECAY ** np.arange(len(recent_L))
        decay_L /= max(1.0, decay_L.sum())
        for place, handle in enumerate(recent_L.tolist()):
            discount = (1.0 + place) ** -self.rules.position_power
            for direction, (item, log) in enumerate(_ends(catalog, handle, size)):
                if not len(item):
                    continue
                part = np.exp2(log - log.max())
                part /= part.sum()
                counts.append(self._counts(log, decay_L[place], direction))
                items.append(item)
                share.append(part * (discount if direction == 0 else 0.5 * discount))
                norm = 0.5 * (np.maximum(heat_N[item], heat_N[handle] - 40) + heat_N[handle])
                cosine.append(np.exp2(np.clip(log - norm, -60, 60)) * discount)
                name = _DIRECTED.get((place, direction))
                if name is not None:
                    self.dense[name] = np.bincount(item, part, size)
        if items:
            every = np.concatenate(items)
            self.dense["together"] = np.bincount(every, np.concatenate(cosine), size)
            self.dense["follows"] = np.bincount(every, np.concatenate(share), size)
            self.dense["counts"] = np.bincount(every, np.concatenate(counts), size)

    def _counts(self, log: np.ndarray, weight: float, direction: int) -> np.ndarray:
        """What transitions out of an item that weighs so much add to `counts`; those into it add nothing."""
        if direction:
            return np.zeros(len(log))
        decayed = np.exp2(np.clip(log - self.catalog.heaviest, -60, 60))
        return np.asarray(np.log1p(_COUNT_PER_DOUBT * decayed) * weight)

    def _two_hops(self) -> None:
        """Where the strongest of `follows` lead in turn."""
        score_N = self.dense["follows"]
        items: list[np.ndarray] = []
        shares: list[np.ndarray] = []
        for handle in top(score_N, None, self.rules.hop_from).tolist():
            for item, log in _ends(self.catalog, handle, self.size):
                if len(item):
                    part = np.exp2(log - log.max())
                    items.append(item)
                    shares.append(part * (score_N[handle] / part.sum()))
        every = np.concatenate(items) if items else np.zeros(0, np.int32)
        weights = np.concatenate(shares) if shares else np.zeros(0)
        self.dense["two_hops"] = np.bincount(every, weights, self.size)

    def _vectors(self, query: Query | None) -> None:
        size, dense, handles_L = self.size, self.dense, self.taste.handles_L
        content_NC = self.content.x_NC[:size]
        zero_N = np.zeros(size, np.float32)
        dense["query"] = zero_N if query is None else query.relevance(content_NC)
        if not len(handles_L):
            dense.update((name, zero_N) for name in _VECTORS)
            return
        x_ND = self.spectral.x_ND[:size]
        discount_L = ((1.0 + np.arange(len(handles_L))) ** -self.rules.position_power).astype(np.float32)
        mean_D = unit(discount_L @ x_ND[handles_L])
        near_N2 = x_ND @ np.stack([mean_D, x_ND[handles_L[0]]], axis=1)
        dense["spectral_taste"], dense["spectral_last"] = near_N2[:, 0], near_N2[:, 1]
        dense["content_spectral"] = self.spectral.content_ND[:size] @ mean_D
        vectors_ND = self.published.x_ND[:size]
        self.vector_D = unit(discount_L @ vectors_ND[handles_L])
        published_N2 = vectors_ND @ np.stack([self.vector_D, vectors_ND[handles_L[0]]], axis=1)
        dense["vector_taste"], dense["vector_last"] = published_N2[:, 0], published_N2[:, 1]
        near_L = handles_L[: self.rules.near]
        dense["content_taste"] = content_NC @ unit(discount_L[: len(near_L)] @ content_NC[near_L])

    def _words(self, lexical: LexicalIndex | None) -> None:
        """Likeness of words to the recent items, and to the last."""
        recent_L = self.taste.handles_L[:_WORDS_ITEMS]
        if lexical is None or not len(recent_L):
            self.dense["words"] = self.dense["words_last"] = np.zeros(self.size, np.float32)
            return
        weights_L = _WORDS_DECAY ** np.arange(len(recent_L))
        self.dense["words"] = lexical.likeness(recent_L, weights_L / weights_L.sum(), self.size)
        self.dense["words_last"] = lexical.likeness(recent_L[:1], np.ones(1), self.size)


def _ends(catalog: Catalog, handle: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Items and log2 weights of the transitions out of an item, then into it, without handles that are newer than this
    evidence."""
    for item, log in (catalog.transitions.out_of(handle), catalog.transitions.into(handle)):
        inside = item < size
        yield (item, log) if inside.all() else (item[inside], log[inside])


def top(score_N: np.ndarray, allowed_N: np.ndarray | None, k: int) -> np.ndarray:
    """Handles of the k highest scores above 0, among the allowed, best first; ties by handle."""
    return best_of(np.flatnonzero(score_N > 0), score_N, allowed_N, k)


def best_of(handles: np.ndarray, score_N: np.ndarray, allowed_N: np.ndarray | None, k: int) -> np.ndarray:
    """Those of `handles` with the k highest scores, among the allowed, best first; ties by handle."""
    if allowed_N is not None:
        handles = handles[allowed_N[handles]]
    if len(handles) > k:
        handles = handles[_best_places(score_N[handles], k)]
    return np.asarray(handles[np.argsort(-score_N[handles], kind="stable")])


def _best_places(score_M: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest of more than k scores, ascending. `argpartition` would take, of those that tie for the
    last place (uploads of one moment), others on another processor."""
    least = np.partition(score_M, -k)[-k]
    places = np.flatnonzero(score_M >= least)
    tied = np.flatnonzero(score_M[places] == least)
    return np.delete(places, tied[len(tied) - (len(places) - k) :])


def gather(evidence: Evidence, allowed_N: np.ndarray) -> dict[str, np.ndarray]:
    """Each source's handles, best first."""
    catalog, rules, size = evidence.catalog, evidence.rules, evidence.size
    quotas = rules.quotas
    proposed = {
        name: top(score_N, allowed_N, quotas[name]) for name, score_N in evidence.dense.items() if quotas.get(name)
    }
    if quotas.get("popular"):
        for window in range(catalog.heat_NW.shape[1]):
            heat_N = catalog.heat_NW[:size, window]
            hottest = catalog.hot.hottest(window)
            if _says_little(hottest, HotLists.DEPTH, allowed_N, quotas["popular"]):
                hottest = np.flatnonzero(allowed_N & (heat_N > NEVER))
            proposed[f"popular_{window}"] = best_of(hottest[hottest < size], heat_N, allowed_N, quotas["popular"])
    if quotas.get("fresh"):
        newest = catalog.newest_handles()
        if _says_little(newest, NEWEST, allowed_N, quotas["fresh"]):
            newest = np.flatnonzero(allowed_N)
        newest = newest[newest < size]
        newest = newest[catalog.positives_N[newest] < rules.fresh_below]
        proposed["fresh"] = best_of(newest, catalog.uploaded_at_N[:size], allowed_N, quotas["fresh"])
    return proposed


def _says_little(listed: np.ndarray, depth: int, allowed_N: np.ndarray, quota: int) -> bool:
    """Whether a list that does not hold all items (it is `depth` long) holds too few of the allowed, as where a request
    asks for one category only: then it takes a look at all."""
    return len(listed) >= depth and int(np.count_nonzero(allowed_N[listed[listed < len(allowed_N)]])) < quota


def rest(evidence: Evidence, allowed_N: np.ndarray, found_B: np.ndarray, count: int) -> np.ndarray:
    """The `count` newest of the items that no source has found: only where there are none may a list be short."""
    other_N = allowed_N.copy()
    other_N[found_B] = False
    return best_of(np.flatnonzero(other_N), evidence.catalog.uploaded_at_N[: evidence.size], None, count)


def united(proposed: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """Every handle that any source proposes, once, ascending."""
    found_N = np.zeros(size, bool)
    for handles in proposed.values():
        found_N[handles] = True
    return np.flatnonzero(found_N)
