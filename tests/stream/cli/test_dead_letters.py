"""`sidestream dead-letters`: listed with their reason, and sent again once."""

from __future__ import annotations

import time

import msgspec

from store.settings import Settings
from stream.client.publisher import Publisher
from stream.kafka.dead_letters import DeadLetter
from tests.stream.conftest import Run
from tests.stream.log import read_topic


def test_dead_letters(on_broker: Run, cli_settings: Settings) -> None:
    topic = cli_settings.topic("profiles")
    letter = DeadLetter(reason="not_json", detail="d", topic=topic, partition=0, offset=3, key=b"dead", value=b"{")
    with Publisher(settings=cli_settings) as publisher:
        publisher.send("dead-letters", "s", letter.encode())
    listed = on_broker("dead-letters", "list")
    assert f"{topic}/0@3" in listed.out
    assert "1 dead letters: not_json 1" in listed.out
    document = on_broker("dead-letters", "list", "--json").document
    assert document["by_reason"] == {"not_json": 1}
    assert [each["text"] for each in document["told"]] == ["{"]
    assert abs(document["told"][0]["came_at"] - time.time()) < 3600
    assert time.strftime("%Y-%m-", time.gmtime()) in on_broker("dead-letters", "list", "--reason", "not_json").out
    assert document["letters"][0] == msgspec.json.decode(letter.encode())
    assert on_broker("dead-letters", "list", "--reason", "wrong_type", "--json").document["found"] == 0
    assert on_broker("dead-letters", "replay").out == "1 dead letters published again\n"
    assert on_broker("dead-letters", "replay").out == "0 dead letters published again\n"
    assert on_broker("dead-letters", "replay", "--again").out == "1 dead letters published again\n"
    assert on_broker("dead-letters", "list", "--json").document["letters"] == document["letters"]
    assert b"{" in [record.value for record in read_topic(cli_settings, "profiles") if record.key == b"dead"]
