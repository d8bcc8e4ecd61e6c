"""The recommender: one scorer's memory of items, and the three things that it can be asked: to rank, to answer, and to
make an example of an engagement.

It is fed with cards and rows of all items and asked with the row of one user; it holds no log, no store and no network,
so the running scorer and `replay` are the same code. One reference (`ModelBundle`) holds model, codebook and tree of a
checkpoint, another the ranker: each is read once per ranking, so no answer mixes two.

Invariants: nothing that is not live or that the user has is returned; an answer is always given, and is as long as was
asked for unless nothing else may be returned; what is learned from an engagement is never in its own example.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, zip_longest
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np

from store.events import Engagement
from store.histories import UserRow
from store.items import ItemCard, ItemRow
from store.keys import hash64
from store.requests import Answer, Note, Request, Task, next_page_of
from store.row_blocks.item_block import ItemBlock
from store.settings import Utility
from trainer.answers import Served, explained, lines_of
from trainer.candidate_ranking import Ahead, Moment, Ranking, rank_candidates, rank_named
from trainer.examples import RankedEngagement, example_of, request_of
from trainer.exploration import Exploration
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import ContentVectors
from trainer.items.item_learning import ItemRules
from trainer.items.published_vectors import PublishedVectors
from trainer.items.spectral_embedding import SpectralEmbedding, SpectralRules
from trainer.items.vector_learning import VectorRules
from trainer.model_bundle import Asked, ModelBundle
from trainer.notes import is_known, notes_of
from trainer.ranking.negatives import NegativeRules
from trainer.ranking.ranker import HeuristicRanker, Ranker
from trainer.retrieval.evidence import Evidence, look_together
from trainer.retrieval.filters import allowed_items
from trainer.retrieval.lexical import LexicalIndex
from trainer.retrieval.search import Query, WordIndex
from trainer.retrieval.taste import CandidateRules, deeper, taste_of
from trainer.selection import TaskRules, selected


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
    negatives: NegativeRules = field(default_factory=NegativeRules)
    repeats: bool = False
    tasks: Mapping[Task, TaskRules] = field(default_factory=dict)
    seed: int = 0

    def of_task(self, task: Task) -> TaskRules:
        """What is particular to a task."""
        return self.tasks.get(task, _OF_EVERY_TASK)


_OF_EVERY_TASK = TaskRules()


class Recommender:
    """Items, vectors and ranker of one scorer. One writer; a reader may ask from another thread."""

    def __init__(
        self,
        rules: RecommenderRules = RecommenderRules(),
        *,
        encode: Callable[[str], np.ndarray] | None = None,
        ranker: Ranker | None = None,
        serving: ModelBundle,
        cards_folder: Path | None = None,
    ) -> None:
        self.rules = rules
        self.catalog = Catalog(rules.item, cards_folder=cards_folder)
        content = ContentVectors(self.catalog, rules.spectral.content_width)
        self.spectral = SpectralEmbedding(content, rules.spectral)
        self.published = PublishedVectors(content, rules.vectors.width)
        self.now_s = self.uploaded_s = 0.0
        self._engaged = False
        self.ranker: Ranker = ranker or HeuristicRanker()
        self.serving = serving
        self._encode = encode
        self.exploration = Exploration(rules.explore_share, rules.explore_below, rules.seed)
        self._words, self._lexical = WordIndex(), LexicalIndex()
        self._answers = count(1)
        self._depths = {task: deeper(rules.candidates, rules.of_task(task).depth) for task in get_args(Task)}

    # What it is fed with

    def insert(self, card: ItemCard) -> None:
        """Makes an item recommendable, or moves it."""
        self._words.replace(self.catalog.handle(card.item_id), self._card(card.item_id), card)
        self.spectral.describe(handle := self.catalog.insert(card))
        self._lexical.replace(handle, card)
        self.published.describe(handle)
        self.uploaded_s = max(self.uploaded_s, card.uploaded_at)
        self.now_s = self.now_s if self._engaged else self.uploaded_s

    def remove(self, item_id: str) -> None:
        """Takes an item down, from this moment on."""
        self._words.replace(self.catalog.handles.get(item_id, -1), self._card(item_id), None)
        if item_id in self.catalog.handles:
            self._lexical.replace(self.catalog.handles[item_id], None)
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

    def update_many(self, handle_R: np.ndarray, block: ItemBlock, source_E: np.ndarray) -> None:
        """Takes over what behaviour has taught about some items, each once. `source_E`: handles of the neighbours."""
        self.catalog.update_many(handle_R, block, source_E)
        self.spectral.place_many(handle_R)
        self.published.place_many(handle_R, block)
        if (last_at := float(block.last_at_R.max(initial=0.0))) > 0:
            self.observe(last_at)

    def forget(self, item_id: str) -> None:
        """What behaviour has taught about an item is gone; it stays live, and starts anew."""
        handle = self.catalog.handles.get(item_id)
        if handle is not None:
            self.catalog.forget(handle)
            self.published.forget(handle)
            self.spectral.place(handle)

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

    def ahead(self, asked: Sequence[Asked]) -> list[Ahead | None]:
        """Looks at all items and asks the model for several requests at once, for `answer`; None for a lone one."""
        if len(asked) < 2:
            return [None] * len(asked)
        bundle, now_s = self.serving, self.now_s
        evidences = [self._evidence(request, user) for request, user in asked]
        look_together(evidences)
        expected = bundle.expect_many(asked, self.catalog.handles, now_s) if bundle.generator is not None else ()
        return [Ahead(bundle, now_s, *one) for one in zip_longest(evidences, expected)]

    def rank(
        self,
        request: Request,
        user: UserRow | None,
        *,
        ordered: bool = True,
        due_s: float = math.inf,
        ahead: Ahead | None = None,
    ) -> Ranking:
        """All candidates of a request. Where only the candidates matter they need not be `ordered`: half the cost."""
        moment = Moment(
            request=request,
            user=user,
            now_s=self.now_s if ahead is None else ahead.now_s,
            bundle=self.serving if ahead is None else ahead.bundle,
            ranker=self.ranker,
            utility=self.rules.of_task(request.task).utility or self.rules.utility,
            due_s=due_s,
            expected=None if ahead is None else ahead.expected,
        )
        evidence = self._evidence(request, user) if ahead is None else ahead.evidence
        if request.candidates:
            return self._rank_named(moment, evidence)
        return rank_candidates(moment, evidence, self._allowed(moment, request, evidence), ordered=ordered)

    def _rank_named(self, moment: Moment, evidence: Evidence) -> Ranking:
        request = moment.request
        open_ = msgspec.structs.replace(request, candidates=())
        pool = rank_candidates(moment, evidence, self._allowed(moment, open_, evidence), ordered=False)
        named_N = self._allowed(moment, request, evidence)
        return rank_named(pool, request, np.flatnonzero(named_N), named_N)

    def _allowed(self, moment: Moment, request: Request, evidence: Evidence) -> np.ndarray:
        allowed_N = allowed_items(self.catalog, request, moment.user, self.rules.repeats, now_s=moment.now_s)
        return allowed_N[: evidence.size]

    def answer(
        self,
        request: Request,
        user: UserRow | None,
        *,
        degraded: bool = False,
        due_s: float = math.inf,
        explores: bool | None = None,
        ahead: Ahead | None = None,
    ) -> Served:
        """The best `request.k` live items that the user does not have, but for what is explored; notes say why there
        are fewer. Nothing is like an item that is not there. After `due_s` (`time.monotonic`) no model is asked, unless
        it was asked `ahead`. `explores`: whether this answer explores, where that was asked before."""
        began = time.perf_counter()
        lost = request.task == "similar" and not is_known(self.catalog, request)
        ranking = self.rank(msgspec.structs.replace(request, k=0) if lost else request, user, due_s=due_s, ahead=ahead)
        shown = selected(ranking, self.rules.of_task(request.task))
        items, x_KF = lines_of(ranking, self.exploration, shown, explores)
        if request.explain:
            items = explained(ranking, items, x_KF, lambda past: self._without(request, user, past))
        bundle = ranking.moment.bundle
        answer = Answer(
            items=items,
            checkpoint=bundle.checkpoint,
            codebook=bundle.codebook.version,
            request_id=self.number(request),
            took_ms=(time.perf_counter() - began) * 1000.0,
            degraded=degraded,
            notes=notes_of(
                self.catalog,
                request,
                user,
                lines=len(items),
                repeats=self.rules.repeats,
                late=ranking.late,
                poor=shown.poor,
                now_s=ranking.moment.now_s,
            ),
            next_page=next_page_of(request, items),
        )
        return Served(answer, x_KF, ranking.moment.now_s)

    def nothing(self, request: Request, note: Note) -> Answer:
        """An answer without items, and why."""
        bundle = self.serving
        return Answer(
            items=[],
            checkpoint=bundle.checkpoint,
            codebook=bundle.codebook.version,
            request_id=self.number(request),
            took_ms=0.0,
            notes=[note],
        )

    def number(self, request: Request) -> str:
        """The id of the next answer; any thread may ask."""
        return f"{hash64(f'{next(self._answers)}/{request.user_id}/{self.now_s}'):016x}"

    def example(
        self,
        user: UserRow | None,
        engagement: Engagement,
        weight: float = 1.0,
        *,
        ordered: bool = True,
        due_s: float = math.inf,
    ) -> RankedEngagement | None:
        """An engagement scored before it is learned from; None if its item could not have been recommended. Of one that
        is not `ordered` the rank says no more than whether it was a candidate. After `due_s` no model is asked."""
        handle, request = self.catalog.handles.get(engagement.item_id), request_of(engagement)
        if handle is None or not allowed_items(self.catalog, request, user, self.rules.repeats)[handle]:
            return None
        self.observe(engagement.occurred_at)
        ranking = self.rank(request, user, ordered=ordered, due_s=due_s)
        return RankedEngagement(example_of(engagement, weight, ranking, handle, self.rules.negatives), ranking)

    def _evidence(self, request: Request, user: UserRow | None) -> Evidence:
        catalog, rules = self.catalog, self._depths[request.task]
        viewed = catalog.handles.get(request.item_id or "") if request.task != "search" else None
        taste = taste_of(user, catalog, rules, viewed, self.rules.repeats)
        return Evidence(catalog, self.spectral, self.published, taste, rules, self._query(request), self._lexical)

    def _without(self, request: Request, user: UserRow | None, handle: int) -> Evidence:
        """The evidence of all past items but one; the item being viewed is one of them."""
        item_id = self.catalog.ids[handle]
        if request.task != "search" and request.item_id == item_id:
            request = msgspec.structs.replace(request, item_id=None)
        return self._evidence(request, None if user is None else user.without(item_id))

    def _query(self, request: Request) -> Query | None:
        text = request.query
        if text is None and request.item_id is not None and request.task == "search":
            card = self._card(request.item_id)
            text = card.title if card is not None else None
        if not text or self._encode is None:
            return None
        vector_C = self.spectral.content.of_text("", self._encode(text))
        return Query(self._words, text, vector_C, len(self.catalog))
