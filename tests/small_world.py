"""A small world: two tastes, items whose content tells which, and one recommender fed as the agents would feed it."""

from __future__ import annotations

import random
from collections.abc import Set

import msgspec
import numpy as np

from store.events import Engagement
from store.histories import HistoryRules, UserRow
from store.histories import absorb as absorb_engagement
from store.items import ItemCard, ItemRow, pack_parts
from store.requests import Answer, Request
from store.settings import Settings
from trainer.items.item_learning import DAY_S
from trainer.items.item_learning import absorb as absorb_signal
from trainer.model_bundle import ModelBundle
from trainer.ranking.example import Example
from trainer.recommender import Recommender, RecommenderRules
from trainer.semantic_ids.codebook import zero_codebook

RULES = HistoryRules(weights=Settings().events.weights)
START = 1.6e9


def direction(group: int) -> np.ndarray:
    vector = np.zeros(256, np.float32)
    vector[group] = 1.0
    return vector


def card(number: int, at: float = START, **labels: object) -> ItemCard:
    content = pack_parts({"text": direction(number % 2) + 0.1 * direction(2 + number)})
    return ItemCard(
        item_id=f"i{number}",
        codebook="c",
        codes=[number],
        suffix=0,
        assigned_at=at,
        uploaded_at=at,
        published_at_ms=0,
        title=f"Item {number}",
        content=content,
        **labels,  # type: ignore[arg-type]
    )


class World:
    """Odd users like odd items: owners' state and one recommender, as the agents would keep them."""

    def __init__(self, rules: RecommenderRules = RecommenderRules(explore_share=0.0)) -> None:
        self.users: dict[str, UserRow] = {}
        self.items: dict[str, ItemRow] = {}
        self.offset = 0
        self.recommender = Recommender(
            rules,
            encode=lambda text: direction(len(text) % 2),
            serving=ModelBundle(zero_codebook(Settings())),
        )

    def engage(self, user_id: str, item_id: str, at: float, kind: str = "click") -> None:
        event = self.event(user_id, item_id, at, kind)
        user = self.users.setdefault(user_id, UserRow())
        signal = absorb_engagement(user, event, self.offset, 0, RULES)
        assert signal is not None
        row = self.items.setdefault(item_id, ItemRow())
        absorb_signal(row, signal, self.recommender.rules.item)
        self.recommender.update(item_id, row)
        self.recommender.maintain()

    def event(self, user_id: str, item_id: str, at: float, kind: str = "click") -> Engagement:
        self.offset += 1
        fields = {"event_id": f"e{self.offset}", "user_id": user_id, "item_id": item_id, "kind": kind}
        return msgspec.convert({**fields, "occurred_at": at}, Engagement)

    def example(self, user: UserRow | None, event: Engagement) -> Example | None:
        ranked = self.recommender.example(user, event)
        return None if ranked is None else ranked.example

    def ask(self, user_id: str = "", **fields: object) -> Answer:
        return self.recommender.answer(Request(user_id=user_id, **fields), self.users.get(user_id)).answer  # type: ignore[arg-type]


def two_tastes() -> World:
    """Forty items, and five days of fifty users who engage with those of their own taste."""
    world = World()
    rng = random.Random(0)
    for number in range(40):
        world.recommender.insert(card(number))
    for n in range(500):
        user = rng.randrange(50)
        item = rng.randrange(20) * 2 + user % 2
        world.engage(f"u{user}", f"i{item}", START + n * DAY_S / 100)
    return world


def world_of(live: Set[str], *, liked: Set[str] = frozenset(), refused: Set[str] = frozenset()) -> World:
    """A world of these items (`i` and a number), and the user `u` who likes and refuses some of them."""
    world = World()
    for item_id in sorted(live):
        world.recommender.insert(card(int(item_id[1:])))
    for item_id in sorted(liked):
        world.engage("u", item_id, START)
    for item_id in sorted(refused):
        world.engage("u", item_id, START, kind="dislike")
    return world
