"""The embedded broker as a process and as an object: starting, ending, housekeeping, and guests with bad manners."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiokafka
import confluent_kafka
import pytest
from aiokafka.errors import KafkaError

from stream.broker import Broker, DataDirInUseError
from tests.clusters import EmbeddedCluster
from tests.stream.broker import wire_scenarios as wired
from tests.stream.broker.batches import Row, batch, rows
from tests.stream.broker.kafka_wire import Wire
from tests.stream.broker.scenarios import create_topic, unique


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedCluster]:
    """A broker that a test may kill and pause, and that keeps house ten times a second."""
    cluster = EmbeddedCluster(tmp_path, "--maintain-every-s", "0.1")
    cluster.start()
    yield cluster
    cluster.stop()


def test_starts_serves_stops_and_starts_again_in_a_process_of_its_owner(tmp_path: Path) -> None:
    async def exchange() -> list[bytes | None]:
        seen = []
        for number in range(2):
            broker = Broker(tmp_path, auto_create_topics=True, fsync_every_s=0.0)
            await broker.start()
            async with aiokafka.AIOKafkaProducer(bootstrap_servers=broker.address) as producer:
                await producer.send_and_wait("kept", b"%d" % number, partition=0)
            consumer = aiokafka.AIOKafkaConsumer("kept", bootstrap_servers=broker.address, auto_offset_reset="earliest")
            async with consumer:
                seen += [(await consumer.getone()).value for _ in range(number + 1)]
            await broker.stop()
        return seen

    assert asyncio.run(exchange()) == [b"0", b"0", b"1"]


def test_has_no_address_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="await start"):
        _ = Broker(tmp_path).address


def test_refuses_a_folder_that_another_broker_uses(own_broker: EmbeddedCluster) -> None:
    async def intrude() -> None:
        with pytest.raises(DataDirInUseError, match=r"another broker runs on .*, pid \d+: stop it"):
            await Broker(own_broker.folder / "data").start()

    asyncio.run(intrude())
    command = [sys.executable, "-m", "stream.broker", "--data-dir", str(own_broker.folder / "data")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode == 1
    assert "another broker runs" in ran.stderr


def test_a_taken_port_is_said_and_leaves_the_folder_free(own_broker: EmbeddedCluster, tmp_path: Path) -> None:
    async def start_twice() -> None:
        with pytest.raises(OSError, match="address already in use"):
            await Broker(tmp_path / "other", port=own_broker.port).start()
        broker = Broker(tmp_path / "other")
        await broker.start()
        await broker.stop()

    asyncio.run(start_twice())


def test_transactions_are_refused_plainly(embedded_broker: EmbeddedCluster) -> None:
    settings = {
        "bootstrap.servers": embedded_broker.bootstrap_servers,
        "transactional.id": unique("tx"),
        "log_level": 0,
    }
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        confluent_kafka.Producer(settings).init_transactions(10)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED

    async def begin() -> None:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=embedded_broker.bootstrap_servers, transactional_id=unique("tx")
        )
        try:
            with pytest.raises(KafkaError):
                await asyncio.wait_for(producer.start(), 10)
        finally:
            await producer.stop()

    asyncio.run(begin())


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\x00\x00\x0c" + b"\xff" * 12,
        b"\x7f\xff\xff\xff",
        b"\x00\x00\x00\x01x",
    ],
    ids=["http", "unknown call", "huge frame", "tiny frame"],
)
def test_what_is_not_kafka_is_shown_the_door(embedded_broker: EmbeddedCluster, noise: bytes) -> None:
    with Wire(embedded_broker.bootstrap_servers) as guest, Wire(embedded_broker.bootstrap_servers) as other:
        guest.send_bytes(noise)
        assert guest.receive_bytes() == b""
        assert other.ask("ApiVersions", 0).error_code == 0


def test_a_truncated_request_closes_its_connection_only(embedded_broker: EmbeddedCluster) -> None:
    with Wire(embedded_broker.bootstrap_servers) as guest, Wire(embedded_broker.bootstrap_servers) as other:
        guest.send_bytes(b"\x00\x00\x00\x0e" + b"\x00\x00\x00\x08" + b"\x00\x00\x00\x01" + b"\xff\xff" + b"\x00" * 4)
        assert guest.receive_bytes() == b""
        assert other.ask("ApiVersions", 0).error_code == 0


def test_a_topic_that_is_deleted_wakes_its_readers(embedded_broker: EmbeddedCluster) -> None:
    with (
        Wire(embedded_broker.bootstrap_servers) as one,
        Wire(embedded_broker.bootstrap_servers) as two,
        ThreadPoolExecutor(1) as pool,
    ):
        topic = create_topic(one)
        waiting = pool.submit(wired._fetch, one, topic, 0, max_wait_ms=20_000)
        time.sleep(0.2)
        began = time.monotonic()
        two.ask("DeleteTopics", 3, topic_names=[topic], timeout_ms=5_000)
        assert waiting.result().error_code == 3
        assert time.monotonic() - began < 2.0


def test_a_topic_keeps_its_id_through_a_kill_and_gets_one_if_an_older_release_made_it(
    own_broker: EmbeddedCluster,
) -> None:
    def topic_id() -> object:
        with Wire(own_broker.bootstrap_servers) as wire:
            return wire.ask("Metadata", 12, topics=[{"name": topic}]).topics[0].topic_id

    def restarted() -> object:
        own_broker.kill()
        own_broker.restart()
        return topic_id()

    with Wire(own_broker.bootstrap_servers) as wire:
        topic = create_topic(wire)
    assert topic_id() == restarted()
    described = own_broker.folder / "data" / "topics" / topic / "topic.json"
    described.write_text('{"partitions":1,"configs":{}}')
    assert restarted() == restarted()


def test_generations_and_offsets_go_on_after_a_kill(own_broker: EmbeddedCluster) -> None:
    with Wire(own_broker.bootstrap_servers) as wire:
        topic, group = create_topic(wire), unique("group")
        before = wired._enter(wire, group)
        wired._sync(wire, group, before, {before.member_id: b"all"})
        assert wired._commit(wire, group, topic, 7, before.generation_id, before.member_id) == 0
    own_broker.kill()
    own_broker.restart()
    with Wire(own_broker.bootstrap_servers) as wire:
        assert wired._beat(wire, group, before.generation_id, before.member_id) == 25  # the member is to join again
        assert wired._enter(wire, group).generation_id > before.generation_id
        assert wired._committed(wire, group, topic, (0,)) == (0, [(0, 7, "", 0)])


def test_a_broker_that_stood_still_does_not_evict_those_it_could_not_hear(own_broker: EmbeddedCluster) -> None:
    with Wire(own_broker.bootstrap_servers) as wire:
        group = unique("group")
        member = wired._enter(wire, group, session_timeout_ms=1_500)
        wired._sync(wire, group, member, {member.member_id: b"all"})
        own_broker.pause()
        time.sleep(2.5)
        own_broker.resume()
        time.sleep(0.5)
        assert wired._beat(wire, group, member.generation_id, member.member_id) == 0


def read_all(wire: Wire, topic: str) -> list[Row]:
    out: list[Row] = []
    while data := bytes(wired._fetch(wire, topic, out[-1].offset + 1 if out else 0).records):
        out += rows(data)
    return out


def test_compact_topics_are_compacted_while_they_serve(own_broker: EmbeddedCluster) -> None:
    with Wire(own_broker.bootstrap_servers) as wire:
        topic = create_topic(wire, cleanup_policy="compact", segment_bytes="2000")
        for version in range(100):
            sent = batch([(b"k%d" % key, b"%d" % version * 20) for key in range(5)])
            assert wired._produce(wire, topic, sent) == (0, 5 * version)
        end = time.monotonic() + 10
        while len(found := read_all(wire, topic)) > 100 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(found) <= 100
        assert {row.key: row.value for row in found} == {b"k%d" % key: b"99" * 20 for key in range(5)}
        assert found[-1].offset == 499


def test_expired_records_go_while_the_broker_serves(own_broker: EmbeddedCluster) -> None:
    with Wire(own_broker.bootstrap_servers) as wire:
        topic = create_topic(wire, retention_ms="1000")
        wired._produce(wire, topic, batch([(b"k", b"old")], timestamp_ms=5))
        end = time.monotonic() + 10
        while wired._offset_at(wire, topic, -2)[1] == 0 and time.monotonic() < end:
            time.sleep(0.05)
        assert wired._offset_at(wire, topic, -2) == (0, 1, -1)
        assert wired._fetch(wire, topic, 0).error_code == 1
        assert wired._produce(wire, topic, batch([(b"k", b"new")], timestamp_ms=int(time.time() * 1000))) == (0, 1)


@pytest.mark.timeout(20)
def test_a_frame_without_records_that_is_as_long_as_one_with_is_not_waited_for(
    own_broker: EmbeddedCluster,
) -> None:
    """Decoded it takes many times its size: fourteen million names of a hundred megabytes."""
    with Wire(own_broker.bootstrap_servers) as wire:
        wire.send_bytes((50 << 20).to_bytes(4, "big") + b"\x00\x03\x00\x01")
        assert wire.receive_bytes() == b""
    with Wire(own_broker.bootstrap_servers) as wire:
        assert wire.ask("ApiVersions", 0).error_code == 0
    assert "holds no records" in own_broker.log
