"""Asking: two models are compared apart, and no method waits for either."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stream.serving.watching.asking import MOST_LOOKS, Asking
from stream.serving.watching.probation import Probation
from tests.trainer.test_model_bundle import CARDS, generator, tiny_codebook
from tests.trainer.walkers import Walkers
from tests.waiting import PATIENCE_S, eventually
from trainer.examples import RankedEngagement
from trainer.model_bundle import ModelBundle


class Stage:
    """Two bundles whose models have learned nothing, and engagements that were ranked by the first."""

    def __init__(self) -> None:
        walkers = Walkers()
        self.serving, self.previous = (self._bundle(walkers, name) for name in ("serving", "previous"))
        walkers.recommender.exchange(self.serving)
        self.ranked = list(walkers.ranked(4, 3))
        self.handles = walkers.recommender.catalog.handles

    @staticmethod
    def _bundle(walkers: Walkers, name: str) -> ModelBundle:
        published = walkers.recommender.published
        bundle = ModelBundle(tiny_codebook(), checkpoint=name, generator=generator(), published=published)
        handles = walkers.recommender.catalog.handles
        bundle.insert_many([handles[one.item_id] for one in CARDS], CARDS)
        return bundle

    def ask(self, asking: Asking, ranked: RankedEngagement) -> bool:
        return asking.ask(ranked.ranking, self.handles[ranked.example.item_id])


@contextmanager
def held(bundle: ModelBundle) -> Iterator[threading.Event]:
    """Its model stands still in the middle, until the context ends; the event says that it does."""
    reached, goes_on = threading.Event(), threading.Event()

    def stand_still(*_: Any) -> None:
        reached.set()
        goes_on.wait(PATIENCE_S)

    assert bundle.generator is not None
    hook = bundle.generator.model.norm.register_forward_pre_hook(stand_still)
    try:
        yield reached
    finally:
        goes_on.set()
        hook.remove()


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


@pytest.fixture
def asking(stage: Stage) -> Iterator[Asking]:
    made = Asking(Probation(0.7, 100.0), stage.serving, stage.previous)
    yield made
    made.close()


def test_what_both_say_goes_to_the_probation(stage: Stage, asking: Asking) -> None:
    for number, ranked in enumerate(stage.ranked, start=1):
        eventually(lambda ranked=ranked: stage.ask(asking, ranked))
        eventually(asking.take)
        assert asking.probation.report().engagements == number
    report = asking.probation.report()
    assert report.hits == report.hits_before, "they know the same"
    assert all(new.took_ms > 0 < before.took_ms for new, before in asking.probation._pairs)
    assert asking.look() is None


def test_nobody_waits_for_a_model_and_what_comes_meanwhile_is_left_out(stage: Stage, asking: Asking) -> None:
    """One that has no answer for long does harm; so does none that stands before it."""
    first, second = stage.ranked[:2]
    with held(stage.serving) as reached:
        assert stage.ask(asking, first)
        assert reached.wait(PATIENCE_S)
        assert not stage.ask(asking, second)
        assert [asking.look() for _ in range(MOST_LOOKS)] == [None] * MOST_LOOKS
        harm = asking.look()
    assert harm is not None
    assert (harm.cause, harm.reason) == ("cost", f"the model had no answer after {MOST_LOOKS} looks of the watch")
    eventually(asking.take)
    assert asking.look() is None, "it has come"
    with held(stage.previous) as reached:
        eventually(lambda: stage.ask(asking, second))
        assert reached.wait(PATIENCE_S)
        assert [asking.look() for _ in range(2 * MOST_LOOKS)] == [None] * 2 * MOST_LOOKS, "that is the one before"
    eventually(asking.take)
