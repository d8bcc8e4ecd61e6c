"""Reading the log: exact ranges, on every broker."""

from __future__ import annotations

import subprocess
import sys
import uuid

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from store.envelopes.newest_events import forgotten, profiles, uploads
from store.headers import numbered
from store.items import ItemCard
from store.log import (
    Log,
    LogError,
    LogRecord,
    cards,
    engagements,
    latest,
    newest_first_chunks,
)
from store.records.frames import frame
from store.settings import Kafka
from tests.clusters import EmbeddedCluster, KafkaCluster

NOW = 1_800_000_000.0


@pytest.fixture
def kafka(cluster: EmbeddedCluster | KafkaCluster) -> Kafka:
    return Kafka(bootstrap_servers=cluster.bootstrap_servers)


@pytest.fixture
def topic(kafka: Kafka) -> str:
    name = f"log-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    # The records are of 1970: a broker that looks for what is past its retention would take them away at any moment.
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": -1, "configs": {"retention.ms": "-1"}}})
    admin.wait_for_topics([name])
    admin.close()
    return name


def publish(kafka: Kafka, topic: str, numbers: range, partition: int = 0) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for number in numbers:
        producer.send(topic, key=b"k", value=str(number).encode(), partition=partition, timestamp_ms=1_000_000 + number)
    producer.flush()
    producer.close()


def test_a_range_is_read_exactly(kafka: Kafka, topic: str) -> None:
    publish(kafka, topic, range(100))
    publish(kafka, topic, range(7), partition=1)
    seen: list[tuple[int, int]] = []
    with Log(kafka) as log:
        assert log.ends(topic) == {0: 100, 1: 7}
        records = list(log.read(topic, {0: 10, 1: 2}, {0: 60, 1: 7}, lambda at, total: seen.append((at, total))))
    assert [r.offset for r in records if r.partition == 0] == list(range(10, 60))
    assert [r.value for r in records if r.partition == 1] == [b"2", b"3", b"4", b"5", b"6"]
    assert seen[-1] == (55, 55)


def test_a_log_can_be_read_again_and_while_it_grows(kafka: Kafka, topic: str) -> None:
    publish(kafka, topic, range(20))
    with Log(kafka) as log:
        assert len(list(log.read_all(topic))) == 20
        publish(kafka, topic, range(20, 30))
        assert len(list(log.read(topic, {0: 15}, {0: 25}))) == 10
        assert len(list(log.read_all(topic))) == 30
        assert list(log.read(topic, {0: 30}, {0: 30})) == []


def test_what_the_broker_drops_in_mid_read_hides_nothing_that_it_still_has(kafka: Kafka, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for _ in range(30):  # several fetches of a reader
        producer.send(topic, value=bytes(900_000), partition=0)
    producer.flush()
    producer.close()
    with Log(kafka) as log:
        records = log.read(topic, {0: 0}, {0: 30})
        assert next(records).offset == 0
        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        admin.delete_records({TopicPartition(topic, 0): 28})
        admin.close()
        offsets = [record.offset for record in records]
    assert offsets == sorted(set(offsets))
    assert offsets[-2:] == [28, 29]
    assert 27 not in offsets  # else nothing was dropped before it was fetched


def test_a_missing_topic_says_what_to_do(kafka: Kafka) -> None:
    with Log(kafka) as log, pytest.raises(LogError, match="topics create"):
        log.ends("no-such-topic")


ALONE = """
from store.log import Log, LogError
from store.settings import Kafka
try:
    Log(Kafka(bootstrap_servers="127.0.0.1:1", client={"bootstrap_timeout_ms": 500})).ends("x")
except LogError as error:
    print(error)
"""


def test_no_broker_is_an_error_not_silence() -> None:
    """In a process of its own: kafka-python drops the sockets of a failed start unclosed, which warns."""
    said = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=20, check=True).stdout
    assert "127.0.0.1:1" in said


def said(value: dict[str, object] | None, key: str = "k", at_ms: int = 0) -> LogRecord:
    return LogRecord(0, 0, at_ms, key.encode(), None if value is None else msgspec.json.encode(value))


def engagement(number: int, user: str = "u") -> dict[str, object]:
    return {"event_id": str(number), "user_id": user, "item_id": "i", "kind": "click", "occurred_at": NOW}


def test_engagements_are_single_or_framed_and_bad_ones_are_left_out() -> None:
    framed = frame([msgspec.json.encode(engagement(n)) for n in (1, 2)])
    records = [said(engagement(0)), LogRecord(0, 1, 5, b"u", framed), LogRecord(0, 2, 5, b"u", b"{"), said(None)]
    found = list(engagements(records, now=NOW))
    assert [(e.event.event_id, e.offset) for e in found] == [("0", 0), ("1", 1), ("2", 1)]


def test_a_forgotten_user_has_only_what_came_after() -> None:
    records = [said(engagement(0), at_ms=10), said(engagement(1), at_ms=30), said(engagement(2, "other"), at_ms=10)]
    forget = forgotten([said({"user_id": "u", "updated_at": NOW}, "u", 5), said(None, "u", 20)])
    assert forget == {"u": 20}
    found = [e.event.event_id for e in engagements(records, now=NOW, forget=forget)]
    assert found == ["1", "2"]


def test_tombstones_apply_in_order() -> None:
    upload = {"item_id": "i", "uploaded_at": NOW, "title": "one"}
    again = {**upload, "title": "two"}
    assert uploads([said(upload, "i"), said(None, "i")], now=NOW) == {}
    assert uploads([said(upload, "i"), said(None, "i"), said(again, "i")], now=NOW)["i"].title == "two"
    profile = {"user_id": "u", "updated_at": NOW, "attributes": {"country": "NO"}}
    assert profiles([said(profile, "u")], now=NOW)["u"].attributes == {"country": "NO"}
    assert profiles([said(profile, "u"), said(None, "u")], now=NOW) == {}
    assert list(latest([said(upload, "a"), said(upload, "b"), said(None, "a")])) == ["b"]


def test_cards_are_the_latest_and_strangers_are_left_out() -> None:
    card = ItemCard(
        item_id="i", codebook="c", codes=[1, 2], suffix=3, assigned_at=NOW, uploaded_at=NOW, published_at_ms=7
    )
    records = [LogRecord(0, 0, 0, b"i", msgspec.json.encode(card)), said({"strange": 1}, "j")]
    assert cards(records) == {"i": card}


def test_a_card_that_lies_behind_its_take_down_is_not_live() -> None:
    """A former owner wrote it late."""
    plain = ItemCard(item_id="i", codebook="c", codes=[1], suffix=3, assigned_at=1, uploaded_at=1, published_at_ms=7)
    old, new = (msgspec.structs.replace(plain, upload_offset=offset) for offset in (5, 9))
    down = LogRecord(0, 1, 0, b"i", None, numbered(upload_offset=6))

    def written(card: ItemCard) -> LogRecord:
        return LogRecord(0, 0, 0, b"i", msgspec.json.encode(card))

    assert cards([written(old), down, written(old)]) == {}
    assert cards([down, written(old), written(new)]) == cards([written(new), down, written(old)]) == {"i": new}


def test_chunks_cover_the_range_once_newest_first() -> None:
    chunks = list(newest_first_chunks({0: 5, 1: 0}, {0: 105, 1: 30}, 40))
    covered = [(p, o) for lower, upper in chunks for p in upper for o in range(lower[p], upper[p])]
    assert len(covered) == len(set(covered)) == 130
    assert chunks[0][1] == {0: 105, 1: 30}
