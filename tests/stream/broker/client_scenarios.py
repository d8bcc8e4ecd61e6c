"""Conformance scenarios through the clients that people use, unmodified."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from typing import Any

import aiokafka
import confluent_kafka
import kafka
from confluent_kafka.admin import AdminClient, OffsetSpec
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import RebalanceInProgressError

from tests.stream.broker.scenarios import unique

_ROWS: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = [
    (b"a", b"1", [("h", b"x"), ("h", b"y"), ("empty", b"")]),
    (None, b"no key", []),
    (b"a", None, []),  # a tombstone
    (b"", b"", []),
    ("ключ".encode(), b"\x00\xff" * 10, []),
]


def _create(bootstrap: str, partitions: int = 1, **configs: str) -> str:
    name = unique("topic")
    settings = {"retention.ms": "-1"} | {key.replace("_", "."): value for key, value in configs.items()}
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
        admin.wait_for_topics([name])
    return name


def _poll(consumer: Any, count: int, seconds: float = 15.0) -> list[Any]:
    out: list[Any] = []
    end = time.monotonic() + seconds
    while len(out) < count and time.monotonic() < end:
        for found in consumer.poll(timeout_ms=200).values():
            out += found
    return out


def kafka_python_reads_what_it_wrote(bootstrap: str) -> Any:
    topic = _create(bootstrap)
    part = kafka.TopicPartition(topic, 0)
    with closing(kafka.KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type="gzip")) as producer:
        sent = [
            producer.send(topic, value, key, headers, timestamp_ms=1_000 + number)
            for number, (key, value, headers) in enumerate(_ROWS)
        ]
        placed = [(found.get(10).offset, found.get(10).timestamp) for found in sent]
    with closing(kafka.KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")) as consumer:
        consumer.assign([part])
        read = [(r.offset, r.timestamp, r.key, r.value, list(r.headers)) for r in _poll(consumer, len(_ROWS))]
        times = [consumer.offsets_for_times({part: at})[part] for at in (0, 1_003, 9_999)]
        ends = consumer.beginning_offsets([part]), consumer.end_offsets([part])
        consumer.seek(part, 1_000)  # beyond the end: back to the earliest, as configured
        again = [record.offset for record in _poll(consumer, 1)]
        unknown = consumer.partitions_for_topic(unique("none"))
    told = [at and (at.offset, at.timestamp) for at in times]
    return placed, read, told, [list(end.values()) for end in ends], again, unknown


def kafka_python_groups_keep_their_place(bootstrap: str) -> Any:
    topic, group = _create(bootstrap, 2), unique("group")
    with closing(kafka.KafkaProducer(bootstrap_servers=bootstrap)) as producer:
        for number in range(20):
            producer.send(topic, b"%d" % number, partition=number % 2)
        producer.flush()
    settings = {"bootstrap_servers": bootstrap, "group_id": group, "enable_auto_commit": False}
    told: list[Any] = []
    with closing(kafka.KafkaConsumer(topic, auto_offset_reset="earliest", **settings)) as consumer:
        told.append(sorted(record.value for record in _poll(consumer, 20)))
        parts = [kafka.TopicPartition(topic, number) for number in (0, 1)]
        _commit(consumer, {parts[0]: kafka.OffsetAndMetadata(4, "half way", -1)})
        told.append((consumer.committed(parts[0], metadata=True), consumer.committed(parts[1])))
    with closing(kafka.KafkaConsumer(topic, auto_offset_reset="latest", **settings)) as consumer:
        told.append(sorted(record.value for record in _poll(consumer, 6)))
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        described = admin.describe_groups([group])[group]
        told.append((described["group_state"], len(described["members"])))
    return str(told)


def _commit(consumer: Any, offsets: dict[Any, Any], seconds: float = 15.0) -> None:
    """Commits; while the group is balanced anew, as on a slow machine, it polls and tries again, as one should."""
    end = time.monotonic() + seconds
    while True:
        try:
            return consumer.commit(offsets)
        except RebalanceInProgressError:
            assert time.monotonic() < end, "the group never came to rest"
            consumer.poll(100)


def aiokafka_members_share_and_take_over(bootstrap: str) -> Any:
    topic, group = _create(bootstrap, 4), unique("group")
    return asyncio.run(_share(bootstrap, topic, group))


async def _share(bootstrap: str, topic: str, group: str) -> Any:
    settings = {"group_id": group, "auto_offset_reset": "earliest", "heartbeat_interval_ms": 200}
    one = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, metadata_max_age_ms=500, **settings)
    two = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, metadata_max_age_ms=500, **settings)
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer, one:
        for number in range(40):
            await producer.send(topic, b"%d" % number, partition=number % 4, headers=[("n", b"%d" % number)])
        await producer.flush()
        alone = await _read(one, 40)
        async with two:
            end = time.monotonic() + 10
            while (len(one.assignment()), len(two.assignment())) != (2, 2) and time.monotonic() < end:
                await asyncio.sleep(0.05)
            shared = (len(one.assignment()), len(two.assignment()))
        while len(one.assignment()) != 4 and time.monotonic() < end:
            await asyncio.sleep(0.05)
        sizes = len(alone), shared, len(one.assignment())
        ends = sorted((await one.end_offsets(sorted(one.assignment()))).values())
        return sizes, ends, sorted(record.headers[0][1] for record in alone)


async def _read(consumer: Any, count: int, seconds: float = 15.0) -> list[Any]:
    out: list[Any] = []
    end = time.monotonic() + seconds
    while len(out) < count and time.monotonic() < end:
        for found in (await consumer.getmany(timeout_ms=200)).values():
            out += found
    return out


def librdkafka_compresses_in_every_way(bootstrap: str) -> Any:
    topic, told = _create(bootstrap, cleanup_policy="compact"), []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        settings = {"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True}
        producer = confluent_kafka.Producer({**settings, "linger.ms": 50})
        for number in range(50):
            producer.produce(topic, f"{codec} {number}" * 20, f"{codec}{number}", headers=[("codec", codec.encode())])
        told.append(producer.flush(15))
    consumer = _librdkafka_consumer(bootstrap, unique("group"))
    with closing(consumer):
        consumer.subscribe([topic])
        read = _consume(consumer, 250)
    return told, [(m.offset(), m.key(), len(m.value()), m.headers()) for m in read]


def _librdkafka_consumer(bootstrap: str, group: str, **given: Any) -> confluent_kafka.Consumer:
    settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    return confluent_kafka.Consumer({**settings, **{key.replace("_", "."): value for key, value in given.items()}})


def _consume(consumer: confluent_kafka.Consumer, count: int, seconds: float = 15.0) -> list[Any]:
    out: list[Any] = []
    end = time.monotonic() + seconds
    while len(out) < count and time.monotonic() < end:
        out += [message for message in consumer.consume(count, 0.2) if not message.error()]
    return out


def librdkafka_sends_large_and_too_large(bootstrap: str) -> Any:
    topic, told = _create(bootstrap, max_message_bytes=str(6 * 2**20)), []

    def report(error: Any, message: Any) -> None:
        told.append(error.name() if error else message.offset())

    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 20 * 2**20})
    for size in (5 * 2**20, 7 * 2**20, 10):
        producer.produce(topic, os.urandom(size), on_delivery=report)
        producer.flush(15)
    with closing(_librdkafka_consumer(bootstrap, unique("group"))) as consumer:
        consumer.subscribe([topic])
        return told, [len(message.value()) for message in _consume(consumer, 2)]


def librdkafka_administers(bootstrap: str) -> Any:
    topic, group = _create(bootstrap, 2), unique("group")
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for number in range(10):
        producer.produce(topic, b"x", partition=number % 2, timestamp=1_000 * (number + 1))
    producer.flush(15)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    with closing(_librdkafka_consumer(bootstrap, group, enable_auto_commit=False)) as consumer:
        consumer.subscribe([topic])
        read = len(_consume(consumer, 10))
        consumer.commit(asynchronous=False)
        parts = [confluent_kafka.TopicPartition(topic, number) for number in (0, 1)]
        committed = [part.offset for part in consumer.committed(parts, 10)]
        marks = [consumer.get_watermark_offsets(part, 10) for part in parts]
        at = [confluent_kafka.TopicPartition(topic, number, 5_500) for number in (0, 1)]
        by_time = [part.offset for part in consumer.offsets_for_times(at, 10)]
        described = admin.describe_consumer_groups([group])[group].result(10)
        state = described.state.name, len(described.members), described.partition_assignor
    listed = group in [found.group_id for found in admin.list_consumer_groups().result(10).valid]
    resource = confluent_kafka.admin.ConfigResource("topic", topic)
    policy = admin.describe_configs([resource])[resource].result(10)["cleanup.policy"].value
    admin.delete_topics([topic])[topic].result(10)
    return read, committed, marks, by_time, state, listed, policy


def librdkafka_rebalances_cooperatively(bootstrap: str) -> Any:
    topic, group = _create(bootstrap, 4), unique("group")
    settings = {"partition_assignment_strategy": "cooperative-sticky", "heartbeat_interval_ms": 200}
    one = _librdkafka_consumer(bootstrap, group, **settings)
    two = _librdkafka_consumer(bootstrap, group, **settings)
    told = []
    with closing(one):
        one.subscribe([topic])
        told.append(_until(lambda: len(one.assignment()) == 4, one))
        with closing(two):
            two.subscribe([topic])
            told.append(_until(lambda: (len(one.assignment()), len(two.assignment())) == (2, 2), one, two))
        told.append(_until(lambda: len(one.assignment()) == 4, one))
    return told


def _until(reached: Any, *consumers: Any, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not reached() and time.monotonic() < end:
        for consumer in consumers:
            consumer.poll(0.05)
    return bool(reached())


def a_killed_member_is_taken_over_from(bootstrap: str) -> Any:
    topic, group = _create(bootstrap, 2), unique("group")
    program = (
        "import sys, confluent_kafka as c\n"
        "k = c.Consumer({'bootstrap.servers': sys.argv[1], 'group.id': sys.argv[3], 'session.timeout.ms': 2000,"
        " 'heartbeat.interval.ms': 300})\n"
        "k.subscribe([sys.argv[2]], on_assign=lambda *_: print('assigned', flush=True))\n"
        "while True: k.poll(0.1)\n"
    )
    victim = subprocess.Popen(
        [sys.executable, "-c", program, bootstrap, topic, group], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert victim.stdout is not None
    with victim.stdout:
        victim.stdout.readline()
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    began = time.monotonic()
    survivor = _librdkafka_consumer(bootstrap, group, session_timeout_ms=2_000, heartbeat_interval_ms=300)
    with closing(survivor):
        survivor.subscribe([topic])
        taken = _until(lambda: len(survivor.assignment()) == 2, survivor)
    return taken, time.monotonic() - began < 15.0


def kcat_lists_writes_and_reads(bootstrap: str) -> Any:
    if shutil.which("kcat") is None:
        return "no kcat"
    topic = _create(bootstrap)

    def kcat(*arguments: str, given: str = "") -> str:
        run = ["kcat", "-b", bootstrap, *arguments]
        return subprocess.run(run, input=given, capture_output=True, text=True, timeout=20, check=True).stdout

    kcat("-P", "-t", topic, "-K", ":", "-H", "a=b", given="k1:v1\nk2:v2\n")
    described = json.loads(kcat("-L", "-J", "-t", topic))["topics"][0]
    read = kcat("-C", "-t", topic, "-e", "-q", "-f", "%p %o %k %s %h\n")
    tail = kcat("-C", "-t", topic, "-o", "-1", "-e", "-q")
    return described["partitions"][0]["partition"], read, tail, kcat("-Q", "-t", f"{topic}:0:-1").split()[-1]


_FAUST = """
import asyncio, sys, faust
broker, source, sink, folder = sys.argv[1:]
app = faust.App('app-' + source, broker='aiokafka://' + broker, datadir=folder, topic_disable_leader=True,
                topic_partitions=2, broker_session_timeout=10, broker_heartbeat_interval=1, web_enabled=False)
into = app.topic(sink, key_serializer='raw', value_serializer='raw')
seen = 0

@app.agent(app.topic(source, key_serializer='raw', value_serializer='raw'))
async def double(stream):
    global seen
    async for key, value in stream.items():
        await into.send(key=key, value=value * 2)
        seen += 1

async def main():
    await app.start()
    while seen < 50:
        await asyncio.sleep(0.02)
    await app.stop()

asyncio.run(main())
"""


def faust_reads_and_writes(bootstrap: str) -> Any:
    source, sink = _create(bootstrap, 2), _create(bootstrap, 2)
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for number in range(50):
        producer.produce(source, f"{number} ", str(number), partition=number % 2)
    assert producer.flush(15) == 0
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-c", _FAUST, bootstrap, source, sink, folder]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    with closing(_librdkafka_consumer(bootstrap, unique("group"))) as consumer:
        consumer.subscribe([sink])
        return sorted((message.key(), message.value()) for message in _consume(consumer, 50))


def what_operators_tools_ask(bootstrap: str) -> Any:
    """Consoles and lag exporters: the cluster as kafka-python tells it, and the newest record by its time."""
    topic, empty = _create(bootstrap), _create(bootstrap)
    with closing(kafka.KafkaProducer(bootstrap_servers=bootstrap, acks="all")) as producer:
        for timestamp_ms in (1_000, 3_000, 3_000, 2_000):
            producer.send(topic, b"v", timestamp_ms=timestamp_ms).get(10)
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        told = admin.describe_cluster()
    client = AdminClient({"bootstrap.servers": bootstrap})
    places = {confluent_kafka.TopicPartition(name, 0): OffsetSpec.max_timestamp() for name in (topic, empty)}
    newest = {each.topic: found.result(10) for each, found in client.list_offsets(places).items()}
    return {
        "cluster": {"cluster_id", "controller_id", "brokers"} <= told.keys(),
        "brokers": len(told["brokers"]),
        "newest": (newest[topic].offset, newest[topic].timestamp),
        "of nothing": newest[empty].offset,
    }
