"""The table: the lists at hand, which question is to be answered next, and the answers that are looked up.

One thread uses a table; another may ask what is `due`, and `compute` it. All lists of a table were
made by one checkpoint and one ranker; when another serves, they go at once.

Invariant: no more than `lists` lists of `length` lines; a list that no longer holds is not handed out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from store.histories import UserRow
from store.requests import Answer, Note, Request, next_page_of
from trainer.answers import Served
from trainer.recommender import Recommender
from trainer.tables.demand import Demand
from trainer.tables.lists import Computed, Listed, compute, holds
from trainer.tables.questions import Question, question_of

PRICE = 5.0
"""So many requests pay for a list of what they ask, so that making lists costs a fifth of answering at most."""
ROOM_FOR_DEMAND = 8
"""So many times as many questions are counted as lists are kept."""
REFRESHED = 0.5
"""At this part of its greatest age a list is made anew, if it is still asked for."""
MOST_UNASKED = 50
"""So many lists are made, after an exchange, of what nobody has asked yet."""
POPULAR_WINDOW = 2
"""Which half-life of popularity tells what will be asked for, before anybody has asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRules:
    """How many lists, of how many lines, and how old one may be when it is handed out."""

    lists: int = 1000
    length: int = 20
    max_age_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up has found. `question`: None where no list could answer exactly. `served`: the answer, None where
    the request goes the usual way. `explores`: True where that answer is to explore."""

    question: Question | None = None
    served: Served | None = None
    age_s: float = 0.0
    explores: bool | None = None


class Table:
    """The lists of one recommender."""

    def __init__(
        self,
        recommender: Recommender,
        rules: TableRules = TableRules(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules
        self.demand = Demand(ROOM_FOR_DEMAND * rules.lists)
        self._recommender = recommender
        self._clock = clock
        self._lists: dict[Question, Listed] = {}
        self._none: dict[Question, float] = {}
        self._bundle, self._ranker = recommender.serving, recommender.ranker
        self._seeds: Iterator[Question] = iter(())

    def __len__(self) -> int:
        return len(self._lists)

    @property
    def bytes(self) -> int:
        """About what the lists take in memory."""
        return sum(listed.bytes for listed in self._lists.values())

    # ---- looked up ----

    def find(self, request: Request, user: UserRow | None, *, degraded: bool = False) -> Found:
        """The answer of the table, if there is a list that gives just what the recommender would have given when the
        list was made, and if it is not this answer's turn to explore."""
        began_s = self._clock()
        question = question_of(request, user, reads_profile=self._recommender.serving.generator is not None)
        if question is None:
            return Found()
        self.demand.ask(question)
        listed = self._at_hand(question, began_s)
        if listed is None or request.k > len(listed.items):
            return Found(question)
        exploration, now_s = self._recommender.exploration, self._recommender.now_s
        if listed.may_explore and exploration.due(request, now_s, request.k):
            return Found(question, explores=True)
        exploration.note(listed.handles_K[: request.k], explored=False)
        return Found(question, self._served(request, listed, began_s, degraded), began_s - listed.made_at_s)

    def listed(self, request: Request) -> Listed | None:
        """The list that a newcomer's request of this kind would be answered from, whoever asks."""
        return self._at_hand(Question(request.task, request.item_id, request.country, request.device), self._clock())

    def _at_hand(self, question: Question, now_s: float) -> Listed | None:
        self.follow()
        listed = self._lists.get(question)
        if listed is None or holds(listed, self._recommender.catalog, self.rules.max_age_s, now_s):
            return listed
        del self._lists[question]
        return None

    def _served(self, request: Request, listed: Listed, began_s: float, degraded: bool) -> Served:
        k, bundle = request.k, self._bundle
        text = f"from a list that was made {began_s - listed.made_at_s:.1f} s ago"
        items = list(listed.items[:k])
        answer = Answer(
            items=items,
            checkpoint=bundle.checkpoint,
            codebook=bundle.codebook.version,
            request_id=self._recommender.number(request),
            took_ms=(self._clock() - began_s) * 1000.0,
            degraded=degraded,
            notes=[Note(reason="table", text=text)],
            next_page=next_page_of(request, items),
        )
        return Served(answer, listed.x_KF[:k], self._recommender.now_s)

    # ---- kept ----

    def follow(self) -> None:
        """Drops all lists when another checkpoint or another ranker serves; popular questions are then asked first."""
        serving, ranker = self._recommender.serving, self._recommender.ranker
        if serving is not self._bundle or ranker is not self._ranker:
            self.clear()

    def clear(self) -> None:
        """Begins anew, with what serves now."""
        self._lists, self._none = {}, {}
        self._bundle, self._ranker = self._recommender.serving, self._recommender.ranker
        self._seeds = self._popular()

    def due(self) -> Iterator[Question]:
        """What is to be computed, the most wanted first: questions without a list that holds, then older lists, then
        what nobody has asked yet, each once after an exchange. Any one thread may ask."""
        now_s, catalog, age_s = self._clock(), self._recommender.catalog, self.rules.max_age_s
        older: list[Question] = []
        for question in self.demand.most(self.rules.lists, PRICE):
            listed = self._lists.get(question)
            if listed is None or not holds(listed, catalog, age_s, now_s):
                if now_s >= self._none.get(question, now_s):
                    yield question
            elif now_s - listed.made_at_s > REFRESHED * age_s:
                older.append(question)
        yield from older
        yield from self._unasked()

    def _unasked(self) -> Iterator[Question]:
        for question in self._seeds:
            if len(self._lists) >= self.rules.lists:
                return
            if question not in self._lists:
                yield question

    def _popular(self) -> Iterator[Question]:
        """Before anybody has asked: the newcomer's home, and what is like the hottest items."""
        catalog = self._recommender.catalog
        hottest = catalog.hot.hottest(POPULAR_WINDOW)
        hottest = hottest[(-catalog.heat_NW[hottest, POPULAR_WINDOW]).argsort(kind="stable")]
        yield Question("home")
        for handle in hottest[:MOST_UNASKED].tolist():
            if catalog.live_N[handle]:
                yield Question("similar", catalog.ids[handle])

    def compute(self, question: Question) -> Computed:
        """The list of a question, for `put`; any thread may ask."""
        return compute(self._recommender, question, self.rules.length, self._clock())

    def put(self, question: Question, computed: Computed) -> bool:
        """Takes a list in; False for one that came too late, as what made it no longer serves."""
        self.follow()
        if computed.moment.bundle is not self._bundle or computed.moment.ranker is not self._ranker:
            return False
        self.demand.spend(question, PRICE)
        self._lists.pop(question, None)
        if computed.listed is None:
            self._none[question] = self._clock() + self.rules.max_age_s
            if len(self._none) > self.rules.lists:
                self._none.pop(next(iter(self._none)))
            return True
        self._lists[question] = computed.listed
        if len(self._lists) > self.rules.lists:
            self._lists.pop(next(iter(self._lists)))  # the oldest: what is asked for was made anew since
        return True
