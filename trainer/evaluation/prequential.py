"""Prequential evaluation: a recorded stream run through the very functions of the agents, testing before learning.

Each event of the stream is absorbed in event time: uploads become cards, engagements go through the user's row to a
signal, through the item's row to the recommender. A seeded sample of the evaluated part is ranked first with what was
known strictly before it; so are the baselines. Every engagement that is examined is also an example for the ranker,
which is fitted in line.

Invariant: what is reported of an engagement depends on nothing after it, except whether it was sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from store.events import Engagement, Upload
from store.histories import UserRow, trim
from store.histories import absorb as absorb_engagement
from store.items import ItemCard, ItemRow
from store.keys import hash64, partition_of
from store.requests import Answer
from store.settings import Settings
from trainer.content.encoder import TextEncoder
from trainer.evaluation.ablation import ABLATED_FROM, Ablation
from trainer.evaluation.baselines import Baseline, all_baselines
from trainer.evaluation.cold_evaluation import FRESH_BELOW, RankWithinKind, rank_within_kind
from trainer.evaluation.model_in_replay import ModelInReplay, ModelRecord, NoModel
from trainer.evaluation.recorded_streams import evaluable_places, sample_places
from trainer.evaluation.replayed_feedback import ReplayedFeedback
from trainer.evaluation.timing import Timer
from trainer.examples import request_of
from trainer.items.item_learning import absorb as absorb_signal
from trainer.items.vector_learning import memory_learners, publish_vector
from trainer.model_bundle import ModelBundle
from trainer.ranking.example import Example
from trainer.ranking.learner import RankerLearner, Snapshot
from trainer.recommender import Recommender
from trainer.rules import embedding_rules, history_rules, ranker_rules, recommender_rules, vector_rules
from trainer.semantic_ids.cards import cards_of
from trainer.semantic_ids.codebook import zero_codebook

BASELINE_DEPTH = 50
PUBLISH_EVERY = 16
"""Engagements between two micro-batches of vectors: their bounds must not depend on what is sampled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayOptions:
    """What a replay does that a running system does not; everything else is as its settings say.

    `sample` engagements of the part after `evaluated_from` are evaluated; `examples` is the share of all events that
    teach the ranker, beside every first engagement of an item; state stands still between multiples of `delay_s`."""

    sample: int = 3000
    k: int = 10
    seed: int = 0
    evaluated_from: float = 0.5
    within_limit: int = 3000
    examples: float = 0.25
    delay_s: float = 0.0
    baselines: bool = True
    ablate: bool = False
    popular_window: float = 0.05


@dataclass(slots=True)
class EvaluatedEngagement:
    """One evaluated engagement: rank of the true item (-1: not proposed), by us and by each baseline; the source that
    ranked it highest, and all that proposed it."""

    place: int
    at: float
    rank: int
    source: str
    positives: int
    age_s: float
    history: int
    candidates: int
    baselines: dict[str, int]
    proposers: tuple[str, ...] = ()


@dataclass(slots=True)
class ReplayResult:
    """All that a replay measured; `cost`: seconds by part."""

    evaluated: list[EvaluatedEngagement] = field(default_factory=list)
    within: list[RankWithinKind] = field(default_factory=list)
    cost: dict[str, float] = field(default_factory=dict)
    ablations: dict[str, Any] = field(default_factory=dict)
    model: ModelRecord = field(default_factory=ModelRecord)


OnProgress = Callable[[int, int, str], None]
"""Called with events done, events in all, and how it goes."""


class Replay:
    """One pass over a stream. `learner` takes all that teaches a ranker, by default one that fits rankers; `cards` are
    those that workers have published, by item: without them uploads become cards under codebook version zero."""

    def __init__(
        self,
        uploads: list[Upload],
        engagements: list[Engagement],
        encoder: TextEncoder,
        options: ReplayOptions = ReplayOptions(),
        settings: Settings = Settings(),
        *,
        learner: RankerLearner | None = None,
        cards: Mapping[str, ItemCard] | None = None,
        model: Callable[[Recommender], ModelInReplay] = lambda _: NoModel(),
    ) -> None:
        self.uploads, self.engagements, self.options, self.settings = uploads, engagements, options, settings
        self._encoder, self._cards = encoder, cards
        self._rules, ranker = history_rules(settings), ranker_rules(settings)
        self.users: dict[str, UserRow] = {}
        self._items: dict[str, ItemRow] = {}
        self.recommender = Recommender(
            recommender_rules(settings),
            encode=lambda text: encoder.encode([text])[0],
            serving=ModelBundle(zero_codebook(settings)),
        )
        self.learner = RankerLearner(ranker) if learner is None else learner
        self._feedback = ReplayedFeedback(self.recommender, self.learner, settings, options.examples)
        self.model = model(self.recommender)
        self.result = ReplayResult(model=self.model.record)
        self._vectors = memory_learners(
            self.recommender.published, vector_rules(settings), embedding_rules(settings), settings.kafka.partitions
        )
        self._ablation = Ablation(ranker) if options.ablate else None
        window = max(1, int(options.popular_window * len(engagements)))
        self._baselines: dict[str, Baseline] = all_baselines(window) if options.baselines else {}
        self._next_upload = self._learned = 0
        self._unfitted: Snapshot | None = None
        self._pending: list[tuple[int, Engagement]] = []
        self._frozen_until = -np.inf

    def run(self, progress: OnProgress | None = None) -> ReplayResult:
        """Replays everything."""
        for place in self.steps():
            if progress is not None and place % 500 == 0:
                progress(place, len(self.engagements), self._headline())
        self._fit_ranker()
        if self._ablation is not None:
            with Timer(self.result.cost, "ablations_s"):
                self.result.ablations = self._ablation.measure(self.options.k)
        return self.result

    def steps(self) -> Iterator[int]:
        """Goes through the stream and stops before each engagement, at its place: all that came before is learned, it
        is neither tested nor learned. There `top` says what would be served."""
        options = self.options
        places = evaluable_places(
            self.uploads,
            self.engagements,
            self._rules.weights,
            evaluated_from=options.evaluated_from,
            repeats=self.settings.serving.repeats,
        )
        evaluated = sample_places(self.engagements, places, options.sample, options.seed)
        candidates = set(places)
        begin = int(len(self.engagements) * ABLATED_FROM)
        for place, event in enumerate(self.engagements):
            if place == begin and self._ablation is not None:
                self._ablation.begin(self.learner)
            self._advance(event.occurred_at)
            yield place
            self.recommender.observe(event.occurred_at)
            self._test(place, event, place in evaluated, place in candidates)
            self._pending.append((place, event))

    def top(self, place: int) -> Answer:
        """What would be served to the user of the engagement at `place`, from the state as it is, at the time of the
        newest event in it."""
        self._fit_ranker()
        event = self.engagements[place]
        request = msgspec.structs.replace(request_of(event), k=self.options.k)
        return self.recommender.answer(request, self.users.get(event.user_id)).answer

    def _advance(self, now_s: float) -> None:
        """Lets the state catch up with everything before this moment, unless it is frozen."""
        delay_s = self.options.delay_s
        if delay_s > 0:
            if now_s < self._frozen_until:
                return
            self._frozen_until = (now_s // delay_s + 1) * delay_s
        for place, event in self._pending:
            self._learn(place, event)
            self._learned += 1
            if self._learned % PUBLISH_EVERY == 0:
                self._learn_vectors()
        self._pending.clear()
        self._publish_uploads(now_s)
        self._refit()
        self.model.advance()

    def _publish_uploads(self, now_s: float) -> None:
        first = self._next_upload
        while self._next_upload < len(self.uploads) and self.uploads[self._next_upload].uploaded_at <= now_s:
            self._next_upload += 1
        if first == self._next_upload:
            return
        with Timer(self.result.cost, "uploads_s"):
            new = self.uploads[first : self._next_upload]
            for card in self._cards_of(new):
                self.recommender.insert(card)
                self.model.follow(card)

    def _cards_of(self, uploads: list[Upload]) -> list[ItemCard]:
        if self._cards is not None:
            return [self._cards[upload.item_id] for upload in uploads]
        dated = [(upload, int(upload.uploaded_at * 1000)) for upload in uploads]
        return cards_of(dated, self._encoder, self.recommender.serving.codebook, uploads[-1].uploaded_at)

    def _learn(self, place: int, event: Engagement) -> None:
        user = self.users.setdefault(event.user_id, UserRow())
        context = self._context(user) if self._baselines else []
        signal = absorb_engagement(user, event, place, 0, self._rules)
        if signal is None:
            return
        trim(user, place + 1, self._rules)
        row = self._items.setdefault(event.item_id, ItemRow())
        absorb_signal(row, signal, self.recommender.rules.item)
        self._vectors[partition_of(event.item_id, len(self._vectors))].absorb(signal)
        self.recommender.update(event.item_id, row)
        self.model.hear(event)
        if signal.weight > 0:
            for baseline in self._baselines.values():
                baseline.learn(event.item_id, event.occurred_at, context)

    def _learn_vectors(self) -> None:
        """Does what the owners of items do when they publish."""
        with Timer(self.result.cost, "vectors_s"):
            for learner in self._vectors:
                for item_id, learned in learner.learn().items():
                    publish_vector(self._items[item_id], *learned)
                    self.recommender.update(item_id, self._items[item_id])

    def _refit(self) -> None:
        if self.recommender.spectral.due():
            with Timer(self.result.cost, "spectral_fit_s"):
                self.recommender.maintain()
        if self.learner.due():
            self._unfitted = self.learner.snapshot()

    def _fit_ranker(self) -> None:
        """Makes the last fit that was due, when somebody is about to be ranked: before the evaluated part nobody is."""
        unfitted, self._unfitted = self._unfitted, None
        if unfitted is not None:
            with Timer(self.result.cost, "ranker_s"):
                self.recommender.exchange_ranker(unfitted.fit())
            self.model.fit(unfitted)

    def _test(self, place: int, event: Engagement, evaluated: bool, candidate: bool) -> None:
        user = self.users.get(event.user_id)
        with Timer(self.result.cost, "feedback_s"):
            self._feedback.observe(user, event)
        if self._rules.weights.get(event.kind, 0.0) <= 0:
            return
        if candidate:
            self._fit_ranker()
        handle = self.recommender.catalog.handles.get(event.item_id)
        positives = int(self.recommender.catalog.positives_N[handle]) if handle is not None else 0
        room = self.options.within_limit - len(self.result.within)
        if candidate and handle is not None and positives < FRESH_BELOW and room > 0:
            with Timer(self.result.cost, "within_s"):
                self.result.within += rank_within_kind(self.recommender, request_of(event), user, handle)[:room]
        taught = positives == 0 or hash64(f"example/{event.event_id}") < self.options.examples * 2.0**64
        if not (evaluated or taught):
            return
        with Timer(self.result.cost, "serve_s"):
            ranked = self.recommender.example(user, event, ordered=evaluated)
        example = None
        proposers: tuple[str, ...] = ()
        if ranked is not None and handle is not None:
            example, ranking = ranked
            proposers = proposers_of(ranking.proposed, handle) if evaluated else ()
            self.learner.absorb(example)
            if evaluated and self._ablation is not None:
                self._ablation.keep(ranking, handle)
        self.model.judge(place, ranked, handle, evaluated=evaluated, cold=candidate and positives == 0)
        if evaluated:
            with Timer(self.result.cost, "baselines_s"):
                others = self._test_baselines(event, user)
            outcome = _outcome(place, event, example, positives, others)
            self.result.evaluated.append(replace(outcome, proposers=proposers))

    def _test_baselines(self, event: Engagement, user: UserRow | None) -> dict[str, int]:
        context = self._context(user) if user is not None else []
        have = set() if user is None or self.settings.serving.repeats else set(user.seen_hashes().tolist())
        catalog = self.recommender.catalog

        def live(item_id: str) -> bool:
            handle = catalog.handles.get(item_id)
            return handle is not None and bool(catalog.live_N[handle]) and hash64(item_id) not in have

        ranks = {}
        for name, baseline in self._baselines.items():
            ranked = baseline.recommend(context, (), live, BASELINE_DEPTH)
            ranks[name] = ranked.index(event.item_id) if event.item_id in ranked else -1
        return ranks

    def _context(self, user: UserRow) -> list[str]:
        """The user's last positive items, newest first, each once."""
        items: dict[str, None] = {}
        for entry in user.positives():
            items.setdefault(entry.item_id)
            if len(items) == 20:
                break
        return list(items)

    def _headline(self) -> str:
        outcomes = self.result.evaluated
        if not outcomes:
            return "warming up"
        return f"hr@{self.options.k} {sum(0 <= one.rank < self.options.k for one in outcomes) / len(outcomes):.3f}"


def proposers_of(proposed: Mapping[str, np.ndarray], handle: int) -> tuple[str, ...]:
    """The sources that have the item on their list; the popular windows count as one."""
    names = (name for name, handles in proposed.items() if handle in handles)
    return tuple(dict.fromkeys("popular" if name.startswith("popular_") else name for name in names))


def _outcome(
    place: int, event: Engagement, example: Example | None, positives: int, baselines: dict[str, int]
) -> EvaluatedEngagement:
    """A frozen state may not know the item yet: that is a miss."""
    at = event.occurred_at
    if example is None:
        return EvaluatedEngagement(place, at, -1, "", positives, 0.0, 0, 0, baselines)
    return EvaluatedEngagement(
        place,
        at,
        example.rank,
        example.source,
        positives,
        example.age_s,
        example.history,
        example.candidates,
        baselines,
    )
