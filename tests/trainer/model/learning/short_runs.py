"""Short runs of pre-training over the tiny world."""

from __future__ import annotations

import numpy as np
import torch

from tests.trainer.worlds import prior, vocabulary
from trainer.model.batches import Behaviour, Metadata
from trainer.model.contrast import Contrast
from trainer.model.corpus import Corpus
from trainer.model.decoder import Decoder, Shape
from trainer.model.item_tower import TowerShape
from trainer.model.learning.optimiser import Moments
from trainer.model.learning.pretraining import Outcome, Plan, Pretraining
from trainer.model.learning.processes import Processes

OWN = 1 << 12


def small_decoder(seed: int = 0, layers: int = 2) -> Decoder:
    return Decoder(Shape.of(vocabulary(), layers=layers, width=32, heads=2, tower=TowerShape(own=OWN)), seed)


def contrast_of(world: Corpus) -> Contrast:
    return Contrast.of(world, prior(), 1, np.ones(len(world), bool), OWN)


def pretraining(
    world: Corpus,
    steps: int,
    seed: int = 0,
    max_seconds: float = 60.0,
    model: Decoder | None = None,
    moments: Moments | None = None,
    processes: Processes = Processes(),
) -> tuple[Decoder, Pretraining]:
    torch.set_num_threads(1)
    v = vocabulary()
    model = model or small_decoder(seed)
    behaviour = Behaviour(world, v, np.ones(len(world), bool), np.ones(len(world)), 50, np.zeros(len(world), int))
    plan = Plan(
        max_steps=steps, epochs=1000, max_seconds=max_seconds, positions=256, items=16, warmup_steps=10, seed=seed
    )
    metadata = Metadata(world.texts, world.codes_IL, v, moment=0)
    return model, Pretraining(model, prior(), behaviour, metadata, contrast_of(world), plan, moments, None, processes)


def learn(world: Corpus, steps: int, seed: int = 0, max_seconds: float = 60.0) -> tuple[Decoder, Outcome]:
    model, run = pretraining(world, steps, seed, max_seconds)
    return model, run.run()
