"""A recommender with many live items, as the scorer of a worker would hold it, and users who ask; without a log.

Users have one of 1,000 tastes each and choose items of theirs by a power law. The ranker is one fitted to examples of
theirs with as many trees as a running system's has.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from store.events import Engagement
from store.histories import UserRow
from store.histories import absorb as absorb_engagement
from store.items import ItemCard, ItemRow, pack_parts
from store.settings import Settings
from trainer.items.item_learning import absorb as absorb_signal
from trainer.model_bundle import ModelBundle
from trainer.ranking.example import Example
from trainer.ranking.learner import RankerLearner
from trainer.recommender import Recommender
from trainer.rules import history_rules, ranker_rules
from trainer.semantic_ids.codebook import zero_codebook

TASTES = 1000
START_S = 1.7e9
ENGAGEMENTS_OF_USER = 40
EXAMPLES = 500
TAUGHT = 5_500
"""So many examples are learned from, each several times: a ranker has its 300 trees from 5,400 on."""


@dataclass(slots=True)
class World:
    """A recommender, its users, and what it took to make it (µs a card and a row; seconds)."""

    recommender: Recommender
    users: dict[str, UserRow] = field(default_factory=dict)
    insert_us: float = 0.0
    update_us: float = 0.0
    space_fit_s: float = 0.0


def fill(world: World, items: int, events: int, seed: int = 0) -> None:
    """Items, and engagements with them."""
    rng = np.random.default_rng(seed)
    began = time.perf_counter()
    upload(world.recommender, items, rng)
    world.insert_us = (time.perf_counter() - began) / items * 1e6
    engage(world, items, events, rng)


def upload(recommender: Recommender, items: int, rng: np.random.Generator) -> None:
    tastes = rng.standard_normal((TASTES, 256)).astype(np.float32)
    for number in range(items):
        vector = tastes[number % TASTES] + rng.standard_normal(256).astype(np.float32)
        at = START_S + number
        recommender.insert(
            ItemCard(
                item_id=f"item-{number}",
                codebook="c",
                codes=[],
                suffix=0,
                assigned_at=at,
                uploaded_at=at,
                published_at_ms=0,
                title=f"Title {number} of {number % TASTES}",
                content=pack_parts({"text": vector / np.linalg.norm(vector)}),
            )
        )


def engage(world: World, items: int, events: int, rng: np.random.Generator) -> None:
    """Users by their number's taste, items by a power law within it; some engagements teach the ranker."""
    rules, recommender = history_rules(Settings()), world.recommender
    rows: dict[str, ItemRow] = {}
    learner, examples = RankerLearner(ranker_rules(Settings())), list[Example]()
    who_E = rng.integers(0, max(1, events // ENGAGEMENTS_OF_USER), events)
    which_E = (rng.pareto(1.0, events) * 3).astype(int) % max(1, items // TASTES)
    taste_TD = rng.standard_normal((TASTES, recommender.rules.vectors.width))
    every = max(1, events // 2 // EXAMPLES)
    for number in range(events):
        user_id, taste = f"user-{who_E[number]}", int(who_E[number]) % TASTES
        item_id = f"item-{(which_E[number] * TASTES + taste) % items}"
        at = START_S + items + number
        event = Engagement(event_id=str(number), user_id=user_id, item_id=item_id, kind="click", occurred_at=at)
        user = world.users.setdefault(user_id, UserRow())
        if number % every == 0 and number > events // 2:
            ranked = recommender.example(user, event)
            examples += [ranked.example] if ranked is not None else []
        signal = absorb_engagement(user, event, number, 0, rules)
        assert signal is not None
        row = rows.get(item_id) or rows.setdefault(item_id, _row(taste_TD[taste], rng))
        absorb_signal(row, signal, recommender.rules.item)
        began = time.perf_counter()
        recommender.update(item_id, row)
        world.update_us += (time.perf_counter() - began) / events * 1e6
        if number in (events // 2, events - 1):
            began = time.perf_counter()
            recommender.spectral.refit()
            world.space_fit_s = time.perf_counter() - began
    for number in range(TAUGHT if examples else 0):
        learner.absorb(examples[number % len(examples)])
    if learner.examples:
        recommender.exchange_ranker(learner.refit())


def _row(taste_D: np.ndarray, rng: np.random.Generator) -> ItemRow:
    """A row with a learned vector near a taste."""
    vector_D = taste_D + rng.standard_normal(len(taste_D))
    return ItemRow(vector=(vector_D / np.linalg.norm(vector_D)).astype("<f2").tobytes())


def bundle_with_model(recommender: Recommender) -> ModelBundle:
    """A checkpoint whose model has its first weights: it costs what a trained one costs."""
    from trainer.model.beam_search import Generator
    from trainer.model.branch_prior import BranchPrior
    from trainer.model.decoder import Decoder, Shape
    from trainer.model.item_tower import TowerShape
    from trainer.model.vocabulary import train_vocabulary

    settings = Settings()
    book, shape = zero_codebook(settings), settings.model
    texts = (f"title {number} of {number % TASTES}" for number in range(2 * TASTES))
    vocabulary = train_vocabulary(texts, book.widths, shape.text_vocabulary)
    tower = TowerShape(own=shape.item_rows)
    made = Shape.of(vocabulary, layers=shape.layers, width=shape.width, heads=shape.heads, tower=tower)
    generator = Generator(Decoder(made).eval(), vocabulary, BranchPrior.empty(book.widths))
    bundle = ModelBundle(
        book, "bench", generator, beams=settings.serving.beams, published=recommender.published, history=100
    )
    bundle.fill(recommender.catalog.cards.items())
    return bundle
