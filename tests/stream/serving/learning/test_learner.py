"""The learner: what the partitions of a worker that answers nothing ask it."""

from __future__ import annotations

from typing import Any

import msgspec

from store.events import Engagement
from store.headers import CANARY_AT, numbered
from store.keys import RESERVED, partition_of
from store.records.foreign import ForeignRecords
from store.records.peer_messages import ShownAnswer
from stream.serving.learning.learner import Learner
from tests.small_world import card
from tests.stream.log import settings_on
from tests.stream.serving.reading.test_item_rows import record
from tests.stream.serving.test_scorer import Told


def learner_that_tells(told: list[Any]) -> Learner:
    settings = settings_on("127.0.0.1:1", "x.", serving={"impression_sample": 1.0})
    return Learner(settings, owners=Told(told), foreign=ForeignRecords())


def test_it_knows_cards_by_partition_and_passes_canaries_over() -> None:
    told: list[Any] = []
    learner = learner_that_tells(told)
    for number in range(6):
        learner.handlers()["semantic-ids"](record(f"i{number}", msgspec.json.encode(card(number))))
    learner.on_card(record(f"{RESERVED}0", None, headers=numbered(**{CANARY_AT: 1})))
    assert told == [(0, f"i{number}", True) for number in range(6)]
    count = settings_on("127.0.0.1:1", "x.").kafka.partitions
    mine = [f"i{number}" for number in range(6) if partition_of(f"i{number}", count) == 1]
    assert [card.item_id for card in learner.cards(1)] == mine
    assert learner.card("i9") is None
    assert learner.checkpoint is None
    assert learner.owner_of("u") is None
    learner.close()


def test_an_engagement_answers_to_what_another_worker_has_shown() -> None:
    learner = learner_that_tells([])
    learner.attribution.shown_by("http://s", ShownAnswer("u", "home", "r", 10.0, ["i1", "i2"], explored=1))
    event = Engagement(event_id="e", user_id="u", item_id="i2", kind="click", occurred_at=11.0)
    assert learner.scoring.outcome(event) is not None
    assert learner.scoring.examine(event, lambda: None) is None  # type: ignore[func-returns-value, arg-type, return-value]
    assert learner.attribution.take_hits("http://s") == [("i2", True)]
    assert learner.attribution.hits == 0, "it is told to who showed it"
    learner.close()
