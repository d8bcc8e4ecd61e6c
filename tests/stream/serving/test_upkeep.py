"""Upkeep: the codebook is measured after every exchange, and what is known of the model reaches the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client import generate_latest

from store.settings import Settings
from stream.metrics.metrics import Metrics
from stream.serving.upkeep import Upkeep
from tests.small_world import World, card
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.codebook import zero_codebook


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def filled(world: World, checkpoint: str, published_at: float) -> ModelBundle:
    bundle = ModelBundle(zero_codebook(Settings()), checkpoint=checkpoint, published_at=published_at, data_until=5.0)
    for handle, known in enumerate(world.recommender.catalog.cards):
        if known is not None:
            bundle.insert(handle, known)
    return bundle


def test_the_codebook_is_measured_and_again_when_another_bundle_serves() -> None:
    world, metrics = World(), Metrics()
    for number in range(12):
        world.recommender.insert(card(number))

    async def scenario() -> None:
        upkeep = Upkeep(metrics, world.recommender)
        caught_up = asyncio.Event()
        running = asyncio.create_task(upkeep.run(caught_up))
        await asyncio.sleep(0.05)
        assert upkeep.codebook_report is None, "nothing is measured before everything is read"
        caught_up.set()
        await until(lambda: upkeep.codebook_report is not None)
        first = upkeep.codebook_report
        world.recommender.exchange(filled(world, "c1", 7.0))
        await until(lambda: upkeep.codebook_report is not first)
        running.cancel()
        upkeep.close()

    asyncio.run(scenario())
    text = generate_latest(metrics.registry).decode()
    assert "sidestream_live_items 12.0" in text
    assert "sidestream_checkpoint_age_seconds" in text
    assert "sidestream_codebook_perplexity" in text
