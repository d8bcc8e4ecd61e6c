"""The recommender: one scorer's memory of items, and the order in which it shows them.

It is fed with cards and rows of all items and asked with the row of one user; it holds no log, no store and no network,
so the running scorer and `replay` are the same code. One reference (`ModelBundle`) holds model, codebook and tree of a
checkpoint, another the ranker: each is read once per answer, so no answer mixes two.

Invariants: nothing that is not live or that the user has is returned; an answer is always given; what is learned from
an engagement is never in its own example.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from store.events import Engagement
from store.histories import UserRow
from store.items import ItemCard, ItemRow
from store.keys import hash64
from store.requests import Answer, RecommendedItem, Request, Task
from store.settings import Utility
from trainer.content.projection import raw_of_text
from trainer.exploration import Exploration
from trainer.items.catalog import Catalog
from trainer.items.item_learning import ItemRules
from trainer.items.published_vectors import PublishedVectors
from trainer.items.spectral_embedding import SpectralEmbedding, SpectralRules
from trainer.items.vector_learning import VectorRules
from trainer.model_bundle import ModelBundle
from trainer.ranking.features import NAMES, TASKS, compute
from trainer.ranking.heads import CLICK, HEADS
from trainer.ranking.negatives import NO_HANDLES, NegativeSampler
from trainer.ranking.ranker import Example, HeuristicRanker, Ranker
from trainer.reasons import EXPLORE, reason, winner
from trainer.retrieval.candidates import CandidateRules, Evidence, Taste, gather, taste_of, united
from trainer.retrieval.search import Query, WordIndex, by_relevance


@dataclass(frozen=True, kw_only=True, slots=True)
class RecommenderRules:
    """`explore_share` of answers show, in their last place, an item with fewer than `explore_below` engagements, chosen
    for what it would teach. With `repeats`, what the user has may be recommended once more."""

    item: ItemRules = field(default_factory=ItemRules)
    spectral: SpectralRules = field(default_factory=SpectralRules)
    vectors: VectorRules = field(default_factory=VectorRules)
    candidates: CandidateRules = field(default_factory=CandidateRules)
    utility: Utility = field(default_factory=Utility)
    explore_share: float = 0.1
    explore_below: int = 5
    beams: int = 24
    negatives: int = 40
    cold_negatives: int = 12
    repeats: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in the order of their scores, and how each came in."""

    handles_B: np.ndarray
    scores_B: np.ndarray
    x_BF: np.ndarray
    proposed: dict[str, np.ndarray]
    evidence: Evidence
    model_N: np.ndarray | None

    @property
    def taste(self) -> Taste:
        """What the user's history says."""
        return self.evidence.taste


_NONE_B = np.zeros(0)
_NONE_BF = np.zeros((0, len(NAMES)), np.float32)


@dataclass(frozen=True, slots=True)
class Served:
    """An answer, the features of its lines (K × F) and the moment of event time at which it was made."""

    answer: Answer
    x_KF: np.ndarray
    now_s: float


class Recommender:
    """Items, vectors and ranker of one scorer. One writer; a reader may ask from another thread."""

    def __init__(
        self,
        rules: RecommenderRules = RecommenderRules(),
        *,
        encode: Callable[[str], np.ndarray] | None = None,
        ranker: Ranker | None = None,
        serving: ModelBundle,
    ) -> None:
        self.rules = rules
        self.catalog = Catalog(rules.item, rules.spectral.content_width)
        self.spectral = SpectralEmbedding(self.catalog, rules.spectral)
        self.published = PublishedVectors(self.catalog, rules.vectors.width)
        self.now_s = self.uploaded_s = 0.0
        self._engaged = False
        self.ranker: Ranker = ranker or HeuristicRanker()
        self.serving = serving
        self._encode = encode
        self.exploration = Exploration(rules.explore_share, rules.explore_below, rules.seed)
        self._words = WordIndex()
        self._answers = 0

    # What it is fed with

    def insert(self, card: ItemCard) -> None:
        """Makes an item recommendable, or moves it."""
        self._words.replace(self.catalog.handle(card.item_id), self._card(card.item_id), card)
        self.spectral.describe(handle := self.catalog.insert(card))
        self.published.describe(handle)
        self.uploaded_s = max(self.uploaded_s, card.uploaded_at)
        self.now_s = self.now_s if self._engaged else self.uploaded_s

    def remove(self, item_id: str) -> None:
        """Takes an item down, from this moment on."""
        self._words.replace(self.catalog.handles.get(item_id, -1), self._card(item_id), None)
        self.catalog.remove(item_id)

    def _card(self, item_id: str) -> ItemCard | None:
        handle = self.catalog.handles.get(item_id)
        return None if handle is None else self.catalog.cards[handle]

    def update(self, item_id: str, row: ItemRow) -> None:
        """Takes over what behaviour has taught about an item."""
        self.spectral.place(handle := self.catalog.update(item_id, row))
        self.published.place(handle, row)
        if row.last_at:
            self.observe(row.last_at)

    def observe(self, now_s: float) -> None:
        """Moves the event-time clock forward. Uploads move it only until this is first called: a catalogue that is
        published before its engagements must not put the clock at the end of them."""
        self.now_s, self._engaged = max(self.now_s, now_s) if self._engaged else now_s, True

    def exchange(self, serving: ModelBundle) -> ModelBundle:
        """Serves another checkpoint, its tree filled, from the next answer on; returns the previous one."""
        previous, self.serving = self.serving, serving
        return previous

    def exchange_ranker(self, ranker: Ranker) -> Ranker:
        """Ranks with another ranker from the next answer on; returns the previous one."""
        previous, self.ranker = self.ranker, ranker
        return previous

    def maintain(self) -> bool:
        """Fits the embeddings of items anew when it is due; True if it did. Takes seconds on large catalogues."""
        if not self.spectral.due():
            return False
        self.spectral.refit()
        self.published.refit()
        return True

    # What it is asked

    def recommend(self, request: Request, user: UserRow | None, *, degraded: bool = False) -> Answer:
        """The best `request.k` live items that the user does not have."""
        return self.serve(request, user, degraded=degraded).answer

    def serve(self, request: Request, user: UserRow | None, *, degraded: bool = False) -> Served:
        """The answer, with the features of its lines."""
        began = time.perf_counter()
        serving, ranker = self.serving, self.ranker
        ranking = self._rank(request, user, serving, ranker)
        places = np.arange(min(request.k, len(ranking.handles_B)))
        explored = self._explored(request, ranking, ranker)
        if explored is not None:
            places[-1] = explored
        self.exploration.note(ranking.handles_B[places], explored is not None)
        heads = ranker.probabilities(ranking.x_BF[places]).tolist() if request.explain else [None] * len(places)
        lines = zip(places.tolist(), heads, strict=True)
        items = [self._line(ranking, place, serving, place == explored, expected) for place, expected in lines]
        self._answers += 1
        number = hash64(f"{self._answers}/{request.user_id}/{self.now_s}")
        answer = Answer(
            items=items,
            checkpoint=serving.checkpoint,
            codebook=serving.codebook.version,
            request_id=f"{number:016x}",
            took_ms=(time.perf_counter() - began) * 1000.0,
            degraded=degraded,
        )
        return Served(answer, ranking.x_BF[places], self.now_s)

    def examine(self, user: UserRow | None, engagement: Engagement, weight: float = 1.0) -> Example | None:
        """Scores an engagement before it is learned from; None if its item could not have been recommended."""
        inspected = self.inspect(user, engagement, weight)
        return None if inspected is None else inspected[0]

    def inspect(
        self, user: UserRow | None, engagement: Engagement, weight: float = 1.0, *, ordered: bool = True
    ) -> tuple[Example, Ranking] | None:
        """The example of an engagement, with the whole ranking that it came from. One that is only to be learned from
        need not be `ordered`, which halves its cost: its rank then says no more than whether it was a candidate."""
        handle = self.catalog.handles.get(engagement.item_id)
        request = request_of(engagement)
        allowed_N = self.allowed(request, user)
        if handle is None or not allowed_N[handle]:
            return None
        self.observe(engagement.occurred_at)
        ranking = self._rank(request, user, self.serving, self.ranker if ordered else None)
        place = np.flatnonzero(ranking.handles_B == handle)
        rank = int(place[0]) if len(place) else -1
        draw, allowed_N = NegativeSampler(self.rules.seed, engagement.event_id), allowed_N[: ranking.evidence.size]
        others = draw.candidates(handle, ranking.handles_B, self.rules.negatives) if rank >= 0 else NO_HANDLES
        cold = draw.cold(handle, allowed_N, self.catalog.positives_N, self.rules.cold_negatives)
        sampled = np.concatenate([[handle], others, cold]) if len(others) or len(cold) else NO_HANDLES
        example = Example(
            user_id=engagement.user_id,
            item_id=engagement.item_id,
            task=request.task,
            kind=engagement.kind,
            occurred_at=engagement.occurred_at,
            weight=weight,
            rank=rank,
            candidates=len(ranking.handles_B),
            source=winner(ranking.proposed, handle) if rank >= 0 else "",
            positives=int(self.catalog.positives_N[handle]),
            age_s=engagement.occurred_at - float(self.catalog.uploaded_at_N[handle]),
            history=ranking.taste.count,
            columns=len(NAMES),
            cold_negatives=len(cold),
            value=engagement.value,
            features=self._features(ranking, sampled, request).astype("<f2").tobytes(),
        )
        return example, ranking

    def allowed(self, request: Request, user: UserRow | None) -> np.ndarray:
        """Which handles may be returned: live, not the user's, not what the user turned away, not the item viewed."""
        catalog = self.catalog
        allowed_N = catalog.live_N[: len(catalog)].copy()
        if user is not None and user.seen and not self.rules.repeats:
            have = [catalog.by_hash.get(number, -1) for number in user.seen_hashes().tolist()]
            allowed_N[[handle for handle in have if 0 <= handle < len(allowed_N)]] = False
        refused = [entry.item_id for entry in user.entries if entry.weight < 0] if user is not None else []
        allowed_N[[handle for handle in catalog.known(refused) if handle < len(allowed_N)]] = False
        viewed = catalog.handles.get(request.item_id or "")
        if viewed is not None and viewed < len(allowed_N):
            allowed_N[viewed] = False
        return allowed_N

    def score(self, request: Request, user: UserRow | None, handles_B: np.ndarray) -> np.ndarray:
        """The ranker's scores of any items, as they would have among the request's candidates."""
        among = self._rank(request, user, self.serving, None)
        return self.ranker.score(self._features(among, handles_B, request), self.rules.utility)

    def _evidence(self, request: Request, user: UserRow | None) -> Evidence:
        catalog, rules = self.catalog, self.rules.candidates
        viewed = catalog.handles.get(request.item_id or "") if request.task != "search" else None
        taste = taste_of(user, catalog, rules, viewed, self.rules.repeats)
        return Evidence(catalog, self.spectral, self.published, taste, rules, self._query(request))

    def _query(self, request: Request) -> Query | None:
        text = request.query
        if text is None and request.item_id is not None and request.task == "search":
            handle = self.catalog.handles.get(request.item_id)
            card = self.catalog.cards[handle] if handle is not None else None
            text = card.title if card is not None else None
        if not text or self._encode is None:
            return None
        return Query(self._words, text, self.spectral.projection.of(raw_of_text("", self._encode(text))[None])[0])

    def _rank(self, request: Request, user: UserRow | None, serving: ModelBundle, ranker: Ranker | None) -> Ranking:
        evidence = self._evidence(request, user)
        allowed_N = self.allowed(request, user)[: evidence.size]
        proposed = gather(evidence, allowed_N)
        model_N = None
        if serving.generator is not None:
            handles, logs = serving.propose(request, user, self.catalog.handles, self.now_s)
            known = handles < evidence.size
            model_N = np.full(evidence.size, np.nan, np.float32)
            model_N[handles[known]] = logs[known]
            proposed["model"] = handles[known][allowed_N[handles[known]]]
        handles_B = united(proposed, evidence.size)
        if not len(handles_B) or ranker is None:
            return Ranking(handles_B, _NONE_B, _NONE_BF, proposed, evidence, model_N)
        model_B = None if model_N is None else model_N[handles_B]
        x_BF = compute(evidence, handles_B, self.now_s, request, model_B)
        scores_B = ranker.score(x_BF, self.rules.utility)
        if evidence.query is not None:
            scores_B = by_relevance(evidence.dense["query"][handles_B], scores_B)
        order = np.argsort(-scores_B, kind="stable")
        return Ranking(handles_B[order], scores_B[order], x_BF[order], proposed, evidence, model_N)

    def _features(self, ranking: Ranking, handles_B: np.ndarray, request: Request) -> np.ndarray:
        """Features of any items, as they would have them among the ranking's candidates."""
        model_B = None if ranking.model_N is None else ranking.model_N[handles_B]
        return compute(ranking.evidence, handles_B, self.now_s, request, model_B, ranking.handles_B)

    def _line(
        self, ranking: Ranking, place: int, serving: ModelBundle, explored: bool, heads: list[float] | None
    ) -> RecommendedItem:
        handle = int(ranking.handles_B[place])
        source = EXPLORE if explored else winner(ranking.proposed, handle)
        last = ranking.taste.handles_L
        card = self.catalog.cards[int(last[0])] if len(last) else None
        return RecommendedItem(
            item_id=self.catalog.ids[handle],
            score=float(ranking.scores_B[place]),
            semantic_id=serving.semantic_id(handle),
            source=source,
            reason=reason(source, card.title if card is not None else ""),
            heads=msgspec.UNSET if heads is None else dict(zip(HEADS, heads, strict=True)),
        )

    def _explored(self, request: Request, ranking: Ranking, ranker: Ranker) -> int | None:
        """The place of the explored candidate that this answer shows last; None in most answers."""
        count, exploration = min(request.k, len(ranking.handles_B)), self.exploration
        if not exploration.due(request, self.now_s, count):
            return None
        known_B = self.catalog.positives_N[ranking.handles_B]
        newest_B = np.isin(ranking.handles_B, ranking.proposed.get("fresh", ()))
        places = count + exploration.pool(request, self.now_s, known_B[count:], newest_B[count:])
        if not len(places):
            return None
        click_B = ranker.probabilities(ranking.x_BF[places])[:, CLICK]
        return int(places[exploration.choose(request, self.now_s, ranking.handles_B[places], click_B)])


def request_of(engagement: Engagement) -> Request:
    """The request that an engagement answers, as far as its event tells."""
    task: Task = "next"
    for known in TASKS:
        if engagement.task == known:
            task = known
    return Request(
        user_id=engagement.user_id,
        task=task,
        query=engagement.query,
        item_id=engagement.context_item_id,
        country=engagement.country,
        device=engagement.device,
    )
