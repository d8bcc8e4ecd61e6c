"""Pre-training: repeatable, and learns a simple world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from store.memory.prefix_tree import PrefixTree
from tests.trainer.model.learning.short_runs import learn
from tests.trainer.worlds import NOW, PER_TOPIC, TOPICS, corpus, prior, vocabulary
from trainer.model.beam_search import Generator
from trainer.model.decoder import Decoder
from trainer.model.item_table import FixedVectors, ItemTable
from trainer.model.learning.pretraining import Outcome
from trainer.model.prompts import Past, prompt_for


def test_the_same_seed_learns_the_same_weights() -> None:
    (a, _), (b, _), (c, _) = learn(corpus(), 8), learn(corpus(), 8), learn(corpus(), 8, seed=1)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.embedding.weight, c.embedding.weight)


def test_it_learns_what_comes_next(learned: tuple[Decoder, Outcome]) -> None:
    model, outcome = learned
    generator, world = Generator(model, vocabulary(), prior()), corpus()
    tree = PrefixTree(vocabulary().widths)
    tree.insert_many(np.arange(len(world.codes_IL)), world.codes_IL)
    hits = 0
    for topic in range(len(TOPICS)):
        history = [Past([topic, number, 0], 1, NOW + 3600.0 * number) for number in (2, 3, 4)]
        leaf, _ = generator.generate(
            [prompt_for(vocabulary(), task="next", now=NOW + 8 * 3600, history=history)], tree, 4
        )[0][0]
        hits += leaf == tree.find((topic, 5, 0))
    assert hits >= 3
    assert outcome.behaviour_loss < 2.5  # nats for one of 32 items: chance is 3.5


def test_it_tells_items_apart_that_nothing_but_their_own_rows_tells_apart() -> None:
    """All items have the same codes and no content, as where a stream has no text and few codes."""
    world = corpus()
    twins = replace(world, codes_IL=np.zeros_like(world.codes_IL), content_IC=np.zeros_like(world.content_IC))
    model, _ = learn(replace(twins, texts=[""] * len(world.texts)), 120)
    generator = Generator(model, vocabulary(), prior())
    table = ItemTable(model, FixedVectors(twins.vector_IV), len(world.item_ids))
    table.describe(range(len(world.item_ids)), twins.codes_IL, twins.content_IC, world.item_ids)
    topic_N = np.array([item_id.partition("-")[0] for item_id in world.item_ids])
    for topic in TOPICS:
        items = [world.item_ids.index(f"{topic}-{number}") for number in (2, 3, 4)]
        history = [Past([0, 0, 0], 1, NOW + 3600.0 * n, None, item) for n, item in enumerate(items)]
        prompt = prompt_for(vocabulary(), task="next", now=NOW + 8 * 3600, history=history)
        suits_N = generator.suits([prompt], generator.read([prompt], table), table)[0][0][: len(topic_N)]
        assert suits_N[topic_N == topic].min() > suits_N[topic_N != topic].max()


def test_it_learns_what_words_mean(learned: tuple[Decoder, Outcome]) -> None:
    generator = Generator(learned[0], vocabulary(), prior())
    every = np.array([[topic, number, 0] for topic in range(len(TOPICS)) for number in range(PER_TOPIC)])
    for topic, word in enumerate(TOPICS):
        prompt = prompt_for(vocabulary(), task="search", now=NOW, query=word)
        mass = np.exp(generator.score(prompt, every)).reshape(len(TOPICS), PER_TOPIC).sum(axis=1)
        assert mass[topic] > 0.7
    assert "cars" in generator.describe([2, 1, 0])


def test_seconds_bound_a_run() -> None:
    _, outcome = learn(corpus(), 100_000, max_seconds=0.5)
    assert outcome.seconds < 3.0
