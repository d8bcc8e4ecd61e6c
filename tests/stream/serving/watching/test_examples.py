"""Examples: which engagements are ranked before they are learned from, and what they bring."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from store.events import Engagement
from store.histories import UserRow
from store.settings import Serving, Settings
from stream.kafka.emitter import Emitter
from stream.metrics.metrics import Metrics
from stream.serving.scorer import Scorer
from tests.small_world import START, card
from tests.stream.serving.test_scorer import Told
from trainer.content.encoders import text_encoder
from trainer.ranking.example import Example


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    async def made() -> Scorer:
        settings = Settings(serving=Serving(live_sample_time=1.0))
        emitter, encoder = Emitter(settings), text_encoder("static")
        return Scorer(settings, metrics=Metrics(), encoder=encoder, emitter=emitter, owners=Told([]))

    scorer = asyncio.run(made())
    for number in range(12):
        scorer.recommender.insert(card(number))
    yield scorer
    scorer.close()


def engaged(kind: str, item_id: str = "i1", event_id: str = "e") -> Engagement:
    fields = {"event_id": event_id, "user_id": "u", "item_id": item_id, "kind": kind, "occurred_at": START}
    return msgspec.convert(fields, Engagement)


def test_a_positive_engagement_is_an_example_and_enters_the_live_metric_once(scorer: Scorer) -> None:
    value = scorer.examples.examine(engaged("click"), UserRow)
    assert value is not None
    example = msgspec.msgpack.decode(value, type=Example)
    assert (example.item_id, example.ordered, example.candidates) == ("i1", True, 12)
    assert {name: len(window) for name, window in scorer.examples.live.slices.items()} == {
        "overall": 1,
        "next": 1,
        "fresh": 1,
    }


def test_negative_ones_follow_positive_ones_and_are_no_more(scorer: Scorer) -> None:
    scorer.examples.examine(engaged("click", event_id="one more"), UserRow)
    found = [scorer.examples.examine(engaged("hide", event_id=f"h{n}"), UserRow) is not None for n in range(200)]
    assert found[0]
    assert not any(found[100:])


def test_nothing_is_made_of_what_is_not_in_the_catalogue_or_says_nothing(scorer: Scorer) -> None:
    assert scorer.examples.examine(engaged("click", "never seen"), UserRow) is None
    assert scorer.examples.outcome(engaged("click")) is None, "it was not shown here"
