"""`sidestream topics`: made once, checked always, and other partition counts named."""

from __future__ import annotations

import pytest

from stream.kafka.topics import TOPICS
from tests.stream.conftest import Run


def test_topics(on_broker: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDESTREAM_KAFKA__TOPIC_PREFIX", "cli-topics.")
    missing = on_broker("topics", "list", "--json")
    assert missing.status == 1
    assert "sidestream topics create" in missing.document["error"]
    assert on_broker("topics", "create").out == f"{len(TOPICS)} topics created, 0 were there\n"
    assert on_broker("topics", "create", "--json").document["created"] == 0
    listed = on_broker("topics", "list")
    assert listed.status == 0
    assert "cli-topics.engagements" in listed.out


def test_topics_that_keep_another_count_are_named(on_broker: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDESTREAM_KAFKA__TOPIC_PREFIX", "cli-counts.")
    monkeypatch.setenv("SIDESTREAM_KAFKA__PARTITIONS", "2")
    assert on_broker("topics", "create", "--json").document["note"] == ""
    monkeypatch.setenv("SIDESTREAM_KAFKA__PARTITIONS", "16")
    again = on_broker("topics", "create")
    assert again.status == 0
    assert f"0 topics created, {len(TOPICS)} were there\nkafka.partitions is 16, and these topics keep" in again.out
    assert "cli-counts.engagements 2" in again.out
    assert "checkpoints" not in again.out
    assert "cli-counts.uploads 2" in on_broker("topics", "create", "--json").document["note"]
