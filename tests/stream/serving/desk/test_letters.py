"""Letters on a real log: the newest are shown, and only events are sent again, with the bytes of the log."""

from __future__ import annotations

import pytest

from store.settings import Settings, settings_from
from store.topics import DEAD_LETTERS, ENGAGEMENTS
from stream.client.publisher import Publisher
from stream.kafka.connections import BrokerUnavailableError
from stream.kafka.dead_letters import DeadLetter
from stream.kafka.topics import create_topics
from stream.serving.desk import letters
from tests.clusters import EmbeddedCluster
from tests.stream.log import read_topic


def letter(number: int, topic: str) -> DeadLetter:
    value = b"\xff{" + str(number).encode()
    return DeadLetter(
        reason="not_json", detail="d", topic=topic, partition=0, offset=number, key=b"i1", value=value
    )  # fmt: skip


@pytest.fixture(scope="module")
def settings(embedded_broker: EmbeddedCluster) -> Settings:
    kafka = {"bootstrap_servers": embedded_broker.bootstrap_servers, "topic_prefix": "desk.", "partitions": 1}
    settings = settings_from({"kafka": kafka})
    create_topics(settings)
    with Publisher(settings=settings, framing=None) as publisher:
        for number in range(3):
            publisher.send(DEAD_LETTERS, "a", letter(number, settings.topic(ENGAGEMENTS)).encode())
        publisher.send(DEAD_LETTERS, "a", letter(3, settings.topic(DEAD_LETTERS)).encode())
        publisher.send(DEAD_LETTERS, "a", letter(4, "payments").encode())
        publisher.send(DEAD_LETTERS, "a", b"no letter")
    return settings


def test_only_events_are_sent_again_and_only_once(settings: Settings) -> None:
    before = letters.look(settings)
    may = {each["lay_at"][1]: each["may_replay"] for each in before["letters"]}
    assert may == {0: True, 1: True, 2: True, 3: False, 4: False}
    assert (before["found"], before["by_reason"]) == (5, {"not_json": 5})
    assert before["letters"][0]["text"].startswith("\ufffd{")
    places = {each["lay_at"][1]: (each["partition"], each["offset"]) for each in before["letters"]}
    asked = [places[1], places[3], places[4], (0, 10**9), (77, 0)]
    assert letters.send_again(settings, asked) == {"sent": 1, "left": 4}
    assert [record.value for record in read_topic(settings, ENGAGEMENTS)] == [b"\xff{1"]
    assert letters.send_again(settings, [places[1]]) == {"sent": 0, "left": 1}
    after = {each["lay_at"][1]: (each["replayed"], each["may_replay"]) for each in letters.look(settings)["letters"]}
    assert after[1] == (True, False)
    assert after[0] == (False, True)


def test_only_the_newest_are_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "NEWEST", 4)
    assert {each["lay_at"][1] for each in letters.look(settings)["letters"]} < {0, 1, 2, 3, 4}


def test_without_a_broker_it_is_said() -> None:
    nowhere = settings_from({"kafka": {"bootstrap_servers": "127.0.0.1:1", "connect_timeout_s": 0.5}})
    with pytest.raises(BrokerUnavailableError):
        letters.look(nowhere)
