"""The embedded broker beside real Kafka, in one run: records in and out, and publish to receive.

    python -m bench.broker [--records 300000] [--size 100] [--rounds 3] [--json]

Each round takes every broker in turn, so that a busy machine burdens all alike; the table has medians. Producer and
consumer are librdkafka (acks=all, idempotent, batches as they come within 5 ms), the latency is aiokafka's, at
`--rate` records a second, one record a batch. Real Kafka takes part where it can (see tests/clusters.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import aiokafka
import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic

from tests.clusters import EmbeddedCluster, KafkaCluster, why_no_kafka

Figures = dict[str, float]
_TICKS = os.sysconf("SC_CLK_TCK")


def create_topic(bootstrap_servers: str, partitions: int) -> str:
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
    return topic


def records_in(bootstrap_servers: str, topic: str, count: int, size: int) -> float:
    """Records a second, from the first send to the last acknowledgement."""
    settings = {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 5}
    producer = confluent_kafka.Producer({**settings, "queue.buffering.max.messages": 1_000_000})
    value = os.urandom(size)
    began = time.perf_counter()
    for number in range(count):
        producer.produce(topic, value, str(number))
        if number % 10_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("the broker did not take all records in two minutes")
    return count / (time.perf_counter() - began)


def records_out(bootstrap_servers: str, topic: str, count: int, partitions: int) -> float:
    """Records a second, from the first one received to the last."""
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": topic, "fetch.queue.backoff.ms": 1}
    consumer = confluent_kafka.Consumer(settings)
    consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in range(partitions)])
    seen, began = 0, 0.0
    while seen < count:
        seen += len(consumer.consume(10_000, 1.0))
        began = began or time.perf_counter()
    took_s = time.perf_counter() - began
    consumer.close()
    return count / took_s


async def latencies_ms(bootstrap_servers: str, topic: str, rate: int, seconds: float) -> list[float]:
    """Publish to receive, for records sent singly at a steady rate."""
    found: list[float] = []
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=bootstrap_servers, auto_offset_reset="latest")
    async with producer, consumer:
        await consumer.seek_to_end()

        async def receive() -> None:
            async for record in consumer:
                found.append((time.perf_counter() - float(record.value)) * 1_000)

        receiving = asyncio.create_task(receive())
        await asyncio.sleep(0.5)
        for _ in range(int(rate * seconds)):
            await producer.send(topic, repr(time.perf_counter()).encode(), partition=0)
            await asyncio.sleep(1 / rate)
        await asyncio.sleep(0.5)
        receiving.cancel()
    return found[len(found) // 10 :]  # without the first connections' share


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mib(pid: int) -> float:
    """Resident memory."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def measure(bootstrap_servers: str, pid: int, options: argparse.Namespace) -> Figures:
    """One round on one broker."""
    topic, before_s = create_topic(bootstrap_servers, options.partitions), cpu_s(pid)
    came_in = records_in(bootstrap_servers, topic, options.records, options.size)
    in_s = cpu_s(pid) - before_s
    went_out = records_out(bootstrap_servers, topic, options.records, options.partitions)
    out_s = cpu_s(pid) - before_s - in_s
    quiet = create_topic(bootstrap_servers, 1)
    waits = sorted(asyncio.run(latencies_ms(bootstrap_servers, quiet, options.rate, options.seconds)))
    return {
        "records in/s": came_in,
        "records out/s": went_out,
        "in, CPU µs/record": in_s / options.records * 1e6,
        "out, CPU µs/record": out_s / options.records * 1e6,
        "publish→receive p50 ms": waits[len(waits) // 2],
        "publish→receive p99 ms": waits[len(waits) * 99 // 100],
        "memory MiB": memory_mib(pid),
    }


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Figures]:
    """Medians by broker."""
    embedded = EmbeddedCluster(folder / "embedded")
    kafka = None if why_no_kafka() else KafkaCluster(folder / "kafka")
    rounds: dict[str, list[Figures]] = {"embedded": [], "kafka": []}
    try:
        embedded.start()
        if kafka:
            kafka.start()
        for _ in range(options.rounds):
            rounds["embedded"].append(measure(embedded.bootstrap_servers, embedded.pid(), options))
            if kafka:
                rounds["kafka"].append(measure(kafka.bootstrap_servers, kafka.pid(), options))
    finally:
        embedded.stop()
        if kafka:
            kafka.stop()
    return {
        name: {figure: statistics.median(each[figure] for each in found) for figure in found[0]}
        for name, found in rounds.items()
        if found
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.broker", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--size", type=int, default=100, help="bytes of a record's value")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rate", type=int, default=200, help="records a second while latency is measured")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long latency is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), options)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{'':26}" + "".join(f"{name:>14}" for name in found))
    for figure in next(iter(found.values())):
        print(f"{figure:26}" + "".join(f"{each[figure]:14,.1f}" for each in found.values()))
    if "kafka" not in found:
        print(f"real Kafka did not take part: {why_no_kafka()}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
