"""A log that no worker has lived through teaches the ranker what a replay of it would."""

from __future__ import annotations

import multiprocessing
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.events import Engagement, Upload
from store.log import Log
from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.demo.population import Census, Population
from stream.kafka.topics import create_topics
from tests.stream.log import read_topic
from tests.waiting import eventually
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.ranking.example import Example
from trainer.ranking.impressions import Impression
from trainer.ranking.ranker import ranker_from
from trainer.runs.example_backfill import (
    ExampleBackfill,
    ExampleCollector,
    backfill_examples,
    decode_piece,
    encode_piece,
)
from trainer.runs.ranker_job import RankerJob, RankerRecord
from trainer.semantic_ids.cards import cards_of
from trainer.semantic_ids.codebook import zero_codebook

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stream() -> tuple[list[Upload], list[Engagement]]:
    uploads, engagements = [], []
    for event in Population(Census(users=200, first_items=100, sessions_per_hour=100.0)):
        if isinstance(event, Upload):
            uploads.append(event)
        else:
            engagements.append(event)
        if len(engagements) == 1500:
            return uploads, engagements
    raise AssertionError


@pytest.fixture(scope="module")
def settings(
    embedded_broker: Any, tmp_path_factory: pytest.TempPathFactory, stream: tuple[list[Upload], list[Engagement]]
) -> Settings:
    """Settings of a log that has the stream, its items with cards, and no ranking example."""
    name = f"backfill-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": embedded_broker.bootstrap_servers, "topic_prefix": f"{name}.", "group": name}
    settings = settings_from({"kafka": kafka, "checkpoint_dir": str(tmp_path_factory.mktemp("checkpoints"))})
    create_topics(settings)
    uploads, engagements = stream
    dated = [(upload, int(upload.uploaded_at * 1000)) for upload in uploads]
    cards = cards_of(dated, text_encoder("static"), zero_codebook(settings), time.time())
    with Publisher(settings=settings) as publisher:
        for card in cards:
            publisher.send("semantic-ids", card.item_id, msgspec.json.encode(card))
        for event in engagements:
            publisher.engagement(event)
    return settings


@pytest.fixture(scope="module")
def everything(settings: Settings) -> list[Example | Impression]:
    """What the whole log gives."""
    return list(backfill_examples(settings, 10_000, 1.0))


def test_it_finds_what_a_replay_finds(
    everything: list[Example | Impression], settings: Settings, stream: tuple[list[Upload], list[Engagement]]
) -> None:
    uploads, engagements = stream
    encoder = text_encoder("static")
    options = ReplayOptions(sample=0, within_limit=0, baselines=False, examples=1.0)
    collector = ExampleCollector()
    replay = Replay(uploads, engagements, encoder, options, settings, learner=collector)
    replay.run()
    expected, found = collector.take(), everything
    assert len(found) > 300
    assert [type(one) for one in found] == [type(one) for one in expected]
    assert encode_piece(found) == encode_piece(expected)


def test_a_piece_is_read_back_as_it_was_written(everything: list[Example | Impression]) -> None:
    some = everything[:600]
    read = decode_piece(encode_piece(some))
    assert len(read) == len(some)
    assert {type(one) for one in read} == {Example, Impression}
    assert encode_piece(read) == encode_piece(some)


def test_negative_engagements_are_found_too(
    everything: list[Example | Impression], settings: Settings, stream: tuple[list[Upload], list[Engagement]]
) -> None:
    weights = settings.events.weights
    negative = {event.event_id for event in stream[1] if weights.get(event.kind, 0.0) < 0}
    found = [one for one in everything if isinstance(one, Example)]
    assert len(negative) > 50
    assert sum(one.weight < 0 for one in found) > 0.3 * len(negative)


def test_no_more_than_wanted_are_found_and_they_are_of_all_of_the_log(
    everything: list[Example | Impression], settings: Settings
) -> None:
    few, there = (
        [one for one in found if isinstance(one, Example) and one.weight > 0]
        for found in (backfill_examples(settings, 50, 1.0), everything)
    )
    some = [example for example in few if not example.cold_negatives]
    assert 10 < len(some) <= 75
    assert len(few) > len(some), "first engagements are examined all"
    middle = there[len(there) // 2].occurred_at
    assert some[0].occurred_at < middle < some[-1].occurred_at


@pytest.mark.long
def test_a_ranker_is_announced_though_no_worker_made_an_example(settings: Settings) -> None:
    job = RankerJob(settings)
    try:
        records = eventually(lambda: job.poll(time.time()) or read_topic(settings, "checkpoints"), 200)
        eventually(lambda: job.poll(time.time()) or not multiprocessing.active_children())
        job.poll(time.time())
        assert any(act.negative for act in job.learner.feedback.acts), "negative engagements teach the heads"
        assert job.learner.feedback.impressions, "so do lines that were shown and passed over"
    finally:
        job.close()
    record = msgspec.json.decode(records[0].value, type=RankerRecord)
    ranker = ranker_from(Path(record.location).read_bytes())
    assert int(ranker.name) >= 200
    assert not list(Path(record.location).parent.glob("backfill*"))


@pytest.mark.parametrize(("live", "engagements"), [(100_000, 200_000), (0, 0)])
def test_nothing_is_made_where_workers_make_enough_or_it_is_off(
    settings: Settings, live: int, engagements: int
) -> None:
    training = msgspec.structs.replace(settings.training, backfill_engagements=engagements)
    with Log(settings.kafka) as reader:
        backfill = ExampleBackfill(msgspec.structs.replace(settings, training=training), reader, 20_000)
        for poll in range(5):
            assert backfill.poll(time.time() + 10 * poll, live) == []
            assert not backfill.busy
