"""What replay measures is what is served: one stream through `Replay` and through a running worker, asked at the same
moments. The tolerance is stated, with its reasons, in docs/online-learning.md."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.served_stream import ServedStream
from store.checkpoints import RANKER_KEY, RankerRecord
from store.events import Engagement, Upload
from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.demo.population import Census, Population
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.waiting import eventually
from trainer.content.encoders import text_encoder
from trainer.evaluation.prequential import Replay, ReplayOptions
from trainer.evaluation.recorded_streams import evaluable_places, read_events, sample_places
from trainer.ranking.ranker import Ranker

pytestmark = pytest.mark.timeout(900)

DATA = Path(os.environ.get("SIDESTREAM_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
MOMENTS = 50
LEAST_MEAN, LEAST = 9.0, 5
"""Of the ten items, how many both must show, on average and at every moment."""


@dataclass(frozen=True)
class Events:
    """A stream, and the places at which it is asked."""

    uploads: list[Upload]
    engagements: list[Engagement]
    places: list[int]


def simulated() -> Events:
    population = islice(Population(Census(users=300, first_items=150, sessions_per_hour=100.0)), 3400)
    events = list(population)
    engagements = [event for event in events if isinstance(event, Engagement)]
    return sampled([event for event in events if isinstance(event, Upload)], engagements)


def recorded(name: str, count: int) -> Events:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"no recorded stream in {folder}: set SIDESTREAM_TEST_DATA to a folder of them")
    engagements = read_events(folder, "engagements", Engagement)[:count]
    uploads = read_events(folder, "uploads", Upload)
    return sampled([one for one in uploads if one.uploaded_at <= engagements[-1].occurred_at], engagements)


def sampled(uploads: list[Upload], engagements: list[Engagement]) -> Events:
    places = evaluable_places(uploads, engagements, Settings().events.weights)
    return Events(uploads, engagements, sorted(sample_places(engagements, places, MOMENTS, 0)))


def replay_of(events: Events, examples: float) -> Replay:
    options = ReplayOptions(sample=0, within_limit=0, examples=examples, baselines=False)
    settings = settings_from({"serving": {"explore_share": 0.0}})
    encoder = text_encoder("static")
    return Replay(events.uploads, events.engagements, encoder, options, settings)


def fitted(events: Events) -> Ranker:
    replay = replay_of(events, examples=0.5)
    replay.run()
    assert replay.recommender.ranker.name != "prior"
    return replay.recommender.ranker


def replayed(events: Events, ranker: Ranker) -> list[list[str]]:
    """The top tens of a replay that gets `ranker` half-way."""
    replay, tops = replay_of(events, examples=0.0), []
    for place in replay.steps():
        if place in events.places:
            tops.append([item.item_id for item in replay.top(place).items])
            if len(tops) == MOMENTS // 2:
                replay.recommender.exchange_ranker(ranker)
    return tops


def announce(settings: Settings, ranker: Ranker, folder: Path) -> None:
    file = folder / "ranker-1.txt"
    file.write_bytes(ranker.to_bytes())
    record = RankerRecord(ranker=ranker.name, location=str(file), published_at=time.time())
    with Publisher(settings=settings, framing=None) as publisher:
        publisher.send("checkpoints", RANKER_KEY.decode(), msgspec.json.encode(record)).result()


def served(settings: Settings, url: str, events: Events, ranker: Ranker, folder: Path) -> Iterator[list[str]]:
    """The top tens of a running worker that is sent `ranker` half-way."""
    stream = ServedStream(events.uploads, events.engagements, settings, url)
    try:
        for number, place in enumerate(events.places):
            stream.reach(place)
            eventually(lambda: not stream.client.status()["space_due"])
            answer = stream.top(place)
            assert not answer.degraded
            yield [item.item_id for item in answer.items]
            if number + 1 == MOMENTS // 2:
                announce(settings, ranker, folder)
                eventually(lambda: stream.client.status()["ranker"] == ranker.name)
    finally:
        stream.close()


def settings_on(bootstrap_servers: str) -> Settings:
    name = f"served-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": bootstrap_servers, "topic_prefix": f"{name}.", "group": name, "partitions": 2}
    settings = settings_from({"kafka": kafka, "serving": {"explore_share": 0.0}})
    create_topics(settings)
    return settings


def shared(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> list[int]:
    return [len(set(one) & set(other)) for one, other in zip(ours, theirs, strict=True)]


@pytest.mark.long
@pytest.mark.parametrize("stream", ["simulated", "movietweetings"])
def test_what_replay_measures_is_what_is_served(stream: str, embedded_broker: Any, tmp_path: Path) -> None:
    events = simulated() if stream == "simulated" else recorded(stream, 2500)
    ranker = fitted(events)
    replays = replayed(events, ranker)
    settings = settings_on(embedded_broker.bootstrap_servers)
    worker = WorkerProcess(settings, tmp_path)
    worker.start()
    try:
        worker.await_ready()
        answers = list(served(settings, worker.url, events, ranker, tmp_path))
    finally:
        worker.stop()
    assert all(len(answer) == 10 for answer in answers)
    alike = shared(replays, answers)
    assert sum(alike) / len(alike) >= LEAST_MEAN, alike
    assert min(alike) >= LEAST, alike
    strangers = shared(replays, [*answers[1:], answers[0]])
    assert sum(strangers) / len(strangers) < LEAST_MEAN - 1, "another moment's answer must not pass for this one's"
