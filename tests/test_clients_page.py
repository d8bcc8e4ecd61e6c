"""docs/clients.md: the example of each language publishes the same events, which workers take; those whose language
runs here are run as they stand on the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from kafka import TopicPartition

from store.events import decode_engagements, decode_uploads
from store.keys import partition_of
from store.settings import Settings, settings_from
from store.topics import ENGAGEMENTS, UPLOADS
from stream.kafka.connections import reader
from stream.kafka.topics import create_topics
from tests.clusters import EmbeddedCluster, kafka_home, why_no_kafka

ROOT = Path(__file__).parent.parent
LANGUAGES = {"Python": "python", "Java": "java", "kcat": "sh", "Go": "go"}
NOW = 1_795_800_000
EVENT = re.compile(r"\{[^{}\n]*\}")
TIME = re.compile(r'"(?:uploaded|occurred)_at": (?P<now>" \+ now(?: \+ ")?|%d|\$now|now)')


def example(heading: str) -> str:
    """The code of a section of the page."""
    section = (ROOT / "docs/clients.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    found = re.search(rf"^```{LANGUAGES[heading]}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def events_in(code: str) -> list[dict[str, object]]:
    """What looks like an event, with a time of now; Python's literals are JSON here."""
    text = TIME.sub(lambda found: found[0].replace(found["now"], str(NOW)), code.replace('\\"', '"'))
    return [msgspec.json.decode(found) for found in EVENT.findall(text) if "_id" in found]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_events_of_an_example_are_taken(language: str) -> None:
    events = events_in(example(language))
    assert [event.get("event_id", event["item_id"]) for event in events] == ["v1", "v2", "e1"]
    assert events == events_in(example("Python"))
    for event, decode in zip(events, (decode_uploads, decode_uploads, decode_engagements), strict=True):
        decoded = decode(msgspec.json.encode(event), now=NOW)
        assert (len(decoded.events), decoded.refusals, decoded.dropped) == (1, [], [])


@pytest.mark.parametrize("language", ["Java", "kcat", "Go"])
def test_an_example_names_the_topics_that_are_there(language: str) -> None:
    named = set(re.findall(r"sidestream\.[\w-]+", example(language)))
    assert named == {Settings().topic(UPLOADS), Settings().topic(ENGAGEMENTS)}


def python(code: str, broker: str, folder: Path) -> list[str]:
    (folder / "publish.py").write_text(code.replace("127.0.0.1:9092", broker))
    return [sys.executable, str(folder / "publish.py")]


def java(code: str, broker: str, folder: Path) -> list[str]:
    if reason := why_no_kafka():
        pytest.skip(reason)
    modules = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=True).stdout
    if "jdk.compiler" not in modules:
        pytest.skip("this Java cannot compile: install a JDK (Debian: default-jdk-headless)")
    (folder / "Publish.java").write_text(code)
    return ["java", "-cp", f"{kafka_home()}/libs/*", str(folder / "Publish.java"), broker]


def kcat(code: str, broker: str, folder: Path) -> list[str]:
    if shutil.which("kcat") is None:
        pytest.skip("no kcat on the PATH")
    return ["sh", "-euc", f"BROKER={broker}\n{code}"]


@pytest.mark.long
@pytest.mark.parametrize(("language", "command"), [("Python", python), ("Java", java), ("kcat", kcat)])
def test_an_example_runs(language: str, command: Callable[[str, str, Path], list[str]], tmp_path: Path) -> None:
    cluster = EmbeddedCluster(tmp_path / "broker")
    cluster.start()
    try:
        settings = settings_from({"kafka": {"bootstrap_servers": cluster.bootstrap_servers, "partitions": 7}})
        create_topics(settings)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        began = time.monotonic()
        subprocess.run(
            command(example(language), cluster.bootstrap_servers, tmp_path), env=environment, check=True, timeout=120
        )
        print(f"\n{language}: {time.monotonic() - began:.1f} s")
        assert published(settings, UPLOADS) == {("v1", partition_of("v1", 7)), ("v2", partition_of("v2", 7))}
        assert published(settings, ENGAGEMENTS) == {("ada", partition_of("ada", 7))}
    finally:
        cluster.stop()


def published(settings: Settings, name: str) -> set[tuple[str, int]]:
    """(key, partition) of each record of a topic."""
    places = [TopicPartition(settings.topic(name), number) for number in range(7)]
    with reader(settings, places) as consumer:
        ends = consumer.end_offsets(places)
        consumer.seek_to_beginning(*places)
        found: set[tuple[str, int]] = set()
        while any(consumer.position(place) < ends[place] for place in places):
            for records in consumer.poll(timeout_ms=500).values():
                found |= {(record.key.decode(), record.partition) for record in records}
    return found
