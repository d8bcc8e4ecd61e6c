"""Pre-training: repeatable, learns a simple world, follows a new codebook without forgetting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from store.memory.prefix_tree import PrefixTree
from tests.trainer.worlds import NOW, PER_TOPIC, TOPICS, corpus, prior, vocabulary
from trainer.model.batches import Behaviour, Metadata
from trainer.model.beam_search import Generator
from trainer.model.contrast import Contrast
from trainer.model.corpus import Corpus
from trainer.model.decoder import Decoder, Shape
from trainer.model.item_table import FixedVectors, ItemTable
from trainer.model.item_tower import TowerShape
from trainer.model.pretraining import Outcome, Plan, grown, pretrain
from trainer.model.prompts import Past, prompt_for

OWN = 1 << 12


@pytest.fixture(scope="module")
def learned() -> tuple[Decoder, Outcome]:
    return learn(corpus(), 240)


def learn(world: Corpus, steps: int, seed: int = 0, max_seconds: float = 60.0) -> tuple[Decoder, Outcome]:
    torch.set_num_threads(1)
    v = vocabulary()
    model = Decoder(Shape.of(v, layers=2, width=32, heads=2, tower=TowerShape(own=OWN)), seed)
    behaviour = Behaviour(world, v, np.ones(len(world), bool), np.ones(len(world)), 50, np.zeros(len(world), int))
    plan = Plan(
        max_steps=steps, epochs=1000, max_seconds=max_seconds, positions=256, items=16, warmup_steps=10, seed=seed
    )
    return model, pretrain(
        model, prior(), behaviour, Metadata(world.texts, world.codes_IL, v, moment=0), contrast_of(world), plan
    )


def contrast_of(world: Corpus) -> Contrast:
    return Contrast.of(world, prior(), 1, np.ones(len(world), bool), OWN)


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


def test_an_equal_codebook_gives_the_parent_again(learned: tuple[Decoder, Outcome]) -> None:
    world = corpus()
    child = grown(learned[0], vocabulary(), world.codes_IL, world.codes_IL, seed=9)
    assert all(torch.equal(x, y) for x, y in zip(child.parameters(), learned[0].parameters(), strict=True))


def test_a_new_codebook_keeps_the_items_vectors(learned: tuple[Decoder, Outcome]) -> None:
    """Under a codebook that tells all items apart, every item keeps the vector it had; words are untouched."""
    parent, world = learned[0], corpus()
    renamed = np.stack([np.arange(32) // 2, np.arange(32) % 2, np.zeros(32, int)], 1)
    v = vocabulary().with_widths((16, 2, 4))
    child = grown(parent, v, world.codes_IL, renamed, seed=0)

    def vectors(model: Decoder, codes_IL: np.ndarray) -> torch.Tensor:
        tables = [model.level_table(level)[0] for level in range(3)]
        return torch.stack([tables[level][torch.from_numpy(codes_IL[:, level])] for level in range(3)]).sum(0)

    before, after = vectors(parent, world.codes_IL), vectors(child, renamed)
    assert torch.cosine_similarity(before, after).mean() > 0.8
    begin = vocabulary().semantic_begin
    assert torch.equal(child.embedding.weight[:begin], parent.embedding.weight[:begin])


def test_other_words_are_another_lineage(learned: tuple[Decoder, Outcome]) -> None:
    from trainer.model.vocabulary import train_vocabulary

    other = train_vocabulary(["something else entirely"] * 3, vocabulary().widths, 300)
    world = corpus()
    with pytest.raises(ValueError, match="new lineage"):
        grown(learned[0], other, world.codes_IL, world.codes_IL, seed=0)
