"""A tiny world to learn from: items in topics, users who stay in theirs, words that name the topic."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from store.events import Engagement
from store.items import ItemCard, pack_parts
from store.log import LoggedEngagement
from trainer.model.branch_prior import BranchPrior
from trainer.model.corpus import Corpus, corpus_of
from trainer.model.vocabulary import Vocabulary, train_vocabulary

TOPICS = ("cats", "dogs", "cars", "boats")
PER_TOPIC = 8
WIDTHS = (4, 8, 4)
NOW = 1_700_000_000.0
WEIGHTS = {"click": 1.0, "skip": -1.0}


def card(topic: int, number: int, codebook: str = "tiny") -> ItemCard:
    text = np.zeros(16, np.float32)
    text[topic], text[4 + number] = 1.0, 0.5
    return ItemCard(
        item_id=f"{TOPICS[topic]}-{number}",
        codebook=codebook,
        codes=[topic, number, 0],
        suffix=0,
        assigned_at=NOW,
        uploaded_at=NOW,
        published_at_ms=int(NOW * 1000),
        title=f"All about {TOPICS[topic]} number {number}",
        tags=[TOPICS[topic]],
        content=pack_parts({"text": text}),
    )


def cards(codebook: str = "tiny") -> dict[str, ItemCard]:
    made = [card(topic, number, codebook) for topic in range(len(TOPICS)) for number in range(PER_TOPIC)]
    return {one.item_id: one for one in made}


def engagement(event: int, user: str, item_id: str, at: float, **more: str) -> Engagement:
    return Engagement(event_id=str(event), user_id=user, item_id=item_id, kind="click", occurred_at=at, **more)


def stream(users: int = 60, each: int = 12, seed: int = 0) -> list[Engagement]:
    """Each user walks through the items of one topic, one after the other."""
    random = np.random.default_rng(seed)
    at = {user: (int(random.integers(len(TOPICS))), int(random.integers(PER_TOPIC))) for user in range(users)}
    found = []
    for step in range(each):
        for user in range(users):
            topic, number = at[user]
            item = f"{TOPICS[topic]}-{(number + step) % PER_TOPIC}"
            found.append(engagement(len(found), f"user-{user}", item, NOW + step * 3600 + user))
    return found


def logged(events: list[Engagement], partitions: int = 2) -> list[LoggedEngagement]:
    ends = [0] * partitions
    found = []
    for event in events:
        partition = int(event.user_id.split("-")[1]) % partitions
        found.append(LoggedEngagement(event, partition, ends[partition], int(event.occurred_at * 1000)))
        ends[partition] += 1
    return found


def codes_of(listed: list[ItemCard]) -> np.ndarray:
    return np.array([one.codes for one in listed])


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    return train_vocabulary([f"{one.title} {' '.join(one.tags)}" for one in cards().values()], WIDTHS, 320)


def corpus(events: list[Engagement] | None = None) -> Corpus:
    made = corpus_of(logged(events if events is not None else stream()), cards(), WEIGHTS)
    return replace(made, codes_IL=codes_of([cards()[item_id] for item_id in made.item_ids]))


def prior() -> BranchPrior:
    """What the world's stream makes popular."""
    world = corpus()
    return BranchPrior.over_time(world.codes_IL[world.item_E], WIDTHS, half_life=200.0, moments=1).at(1)
