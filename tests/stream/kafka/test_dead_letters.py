"""Dead letters: nothing of the original is lost, and they can be listed and sent again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.settings import Settings
from stream.client.publisher import Publisher
from stream.kafka.dead_letters import DeadLetter, DeadLetterError, count_by_reason, decode, read_letters, replay
from stream.kafka.topics import TopicsError, create_topics
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic, settings_on

letters = st.builds(
    DeadLetter,
    reason=st.sampled_from(["not_json", "oversized"]),
    detail=st.text(max_size=20),
    topic=st.just("sidestream.uploads"),
    partition=st.integers(0, 99),
    offset=st.integers(0, 1 << 40),
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=200),
)


@given(letters)
def test_a_letter_survives_its_record(letter: DeadLetter) -> None:
    assert decode(letter.encode()) == letter
    assert set(msgspec.json.decode(letter.encode())) == {
        "reason",
        "detail",
        "topic",
        "partition",
        "offset",
        "key",
        "value",
    }


@pytest.mark.parametrize("value", [b"{}", b"\xff", b'{"reason":"r"}', b"[]"])
def test_what_is_no_letter_is_said(value: bytes) -> None:
    with pytest.raises(DeadLetterError, match="find who wrote it"):
        decode(value)


def test_base64_that_is_broken_is_said() -> None:
    letter = msgspec.json.decode(_letter(0, "not_json").encode())
    with pytest.raises(DeadLetterError):
        decode(msgspec.json.encode({**letter, "value": "a"}))


def _letter(number: int, reason: str, topic: str = "dl.uploads") -> DeadLetter:
    value = b"\xff{" + str(number).encode()
    return DeadLetter(reason=reason, detail="d", topic=topic, partition=0, offset=number, key=b"i1", value=value)


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    settings = settings_on(embedded_broker.bootstrap_servers, "dl.")
    create_topics(settings)
    with Publisher(settings=settings) as publisher:
        for number in range(30):
            topic = "dl.uploads" if number % 2 else "dl.profiles"
            letter = _letter(number, "not_json" if number % 3 else "wrong_type", topic)
            publisher.send("dead-letters", f"source-{number}", letter.encode())
    return settings


def test_listing_and_its_filters(settings: Settings) -> None:
    found = list(read_letters(settings))
    assert sorted(letter.offset for letter in found) == list(range(30))
    assert count_by_reason(found) == {"not_json": 20, "wrong_type": 10}
    assert {letter.reason for letter in read_letters(settings, reason="wrong_type")} == {"wrong_type"}
    assert len(list(read_letters(settings, topic="uploads"))) == 15
    assert len(list(read_letters(settings, topic="dl.uploads", reason="wrong_type"))) == 5
    assert len(list(read_letters(settings, limit=7))) == 7


def test_replay_sends_the_original_bytes_to_where_they_were_meant_to_go(settings: Settings) -> None:
    assert replay(settings, read_letters(settings, reason="wrong_type", topic="uploads", limit=3)) == 3
    records = read_topic(settings, "uploads")
    assert [record.key for record in records] == [b"i1"] * 3
    assert all(record.value.startswith(b"\xff{") for record in records)


def test_what_was_replayed_is_not_replayed_again(settings: Settings) -> None:
    def left() -> list[int]:
        return sorted(letter.offset for letter in read_letters(settings, topic="profiles", replayed=False))

    first, every = left(), list(read_letters(settings))
    assert replay(settings, read_letters(settings, topic="profiles", limit=5, replayed=False)) == 5
    then = left()
    assert len(then) == len(first) - 5
    assert replay(settings, read_letters(settings, topic="profiles", replayed=False)) == len(then)
    assert left() == []
    assert list(read_letters(settings)) == every
    sent = sorted(record.value for record in read_topic(settings, "profiles"))
    assert sent == sorted(letter.value for letter in every if letter.topic == "dl.profiles" and letter.value)


def test_only_the_newest_are_read_where_that_is_asked(settings: Settings) -> None:
    every = [letter.place for letter in read_letters(settings)]
    some = [letter.place for letter in read_letters(settings, newest=5)]
    assert 0 < len(some) < len(every)
    assert set(some) < set(every)
    assert [letter.place for letter in read_letters(settings, newest=10**6)] == every


def test_a_missing_topic_is_said(embedded_broker: EmbeddedCluster) -> None:
    with pytest.raises(TopicsError, match="sidestream topics create"):
        list(read_letters(settings_on(embedded_broker.bootstrap_servers, "none.")))


def test_a_preview_is_readable_and_short() -> None:
    assert _letter(1, "not_json").preview() == "�{1"
    assert len(DeadLetter(**{**_letter_fields(), "value": b"x" * 500}).preview(20)) == 20


def _letter_fields() -> dict[str, object]:
    letter = _letter(1, "not_json")
    return {name: getattr(letter, name) for name in DeadLetter.__dataclass_fields__}
