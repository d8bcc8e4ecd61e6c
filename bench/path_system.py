"""The system that `bench.path` drives: broker and workers as processes, the producer, and clients that ask."""

from __future__ import annotations

import argparse
import asyncio
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import aiohttp
import confluent_kafka
import httpx
import msgspec

from bench.path_stream import Message
from store.settings import RoleName, Settings, settings_from
from store.settings.roles import role_called
from store.topics import ENGAGEMENTS
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess
from tests.clusters import EmbeddedCluster, KafkaCluster


class System:
    """Broker and workers, as processes; the driver's producer."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.cluster = KafkaCluster(folder / "kafka") if options.kafka else EmbeddedCluster(folder / "embedded")
        self.cluster.start()
        change: Callable[[Settings], Settings] = getattr(options, "change", lambda settings: settings)
        self.settings = change(_settings(self.cluster.bootstrap_servers, options.partitions))
        create_topics(self.settings)
        drain_s = getattr(options, "drain", 0.0)
        self.roles: list[RoleName] = getattr(options, "roles", None) or ["all"] * options.workers
        self.workers = [
            WorkerProcess(msgspec.structs.replace(self.settings, role=role), folder / f"worker-{n}", drain_s=drain_s)
            for n, role in enumerate(self.roles)
        ]
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.await_ready()
        properties = {"bootstrap.servers": self.cluster.bootstrap_servers, "linger.ms": 2, "enable.idempotence": True}
        self.producer = confluent_kafka.Producer({**properties, "queue.buffering.max.kbytes": 1 << 20})

    @property
    def answering(self) -> list[WorkerProcess]:
        """The workers that answer."""
        return [worker for worker, role in zip(self.workers, self.roles, strict=True) if role_called(role).answers]

    @property
    def url(self) -> str:
        return self.answering[0].url

    def pids(self) -> dict[str, int]:
        broker = self.cluster.pid()
        workers = {
            f"worker {n} ({role})": worker.process.pid
            for n, (worker, role) in enumerate(zip(self.workers, self.roles, strict=True))
            if worker.process
        }
        return {"broker": broker, **workers, "driver": os.getpid()}

    def send(self, topic: str, key: bytes, value: bytes, partition: int = -1) -> None:
        while True:
            try:
                self.producer.produce(self.settings.topic(topic), value, key, partition=partition)
                break
            except BufferError:
                self.producer.poll(0.05)
        self.producer.poll(0)

    def flush(self) -> None:
        if self.producer.flush(60):
            raise SystemExit("the broker did not take everything within a minute")

    def await_items(self, items: Sequence[str], what: str, timeout_s: float = 300.0) -> None:
        """Waits until the scorer of every worker that has one shows `what` of these items."""
        end = time.monotonic() + timeout_s
        with httpx.Client(timeout=30.0) as client:
            for worker in self.answering:
                for item in items:
                    while not _shows(client, worker.url, item, what):
                        if time.monotonic() > end:
                            raise SystemExit(f"{item} does not show {what} after {timeout_s:g} s: see {worker.log}")
                        time.sleep(0.02)

    def stop(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.cluster.stop()


class Asking(threading.Thread):
    """Recommend requests, `clients` at a time, until told to end; beside them `batching` clients that send one batch of
    100 after the other."""

    def __init__(self, url: str, users: int, clients: int = 2, batching: int = 0) -> None:
        super().__init__(daemon=True)
        self._url, self._users, self._clients, self._batching = url, users, clients, batching
        self._ended = threading.Event()
        self.waits_s: list[float] = []
        self.failed = 0

    def run(self) -> None:
        asyncio.run(self._run())

    def end(self) -> None:
        self._ended.set()
        self.join(30)

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            asks = [self._ask(session, number) for number in range(self._clients)]
            await asyncio.gather(*asks, *(self._batch(session, number) for number in range(self._batching)))

    async def _batch(self, session: aiohttp.ClientSession, number: int) -> None:
        users = [f"user-{(number * 100 + line) % self._users}" for line in range(100)]
        body = {"requests": [{"user_id": user} for user in users]}
        while not self._ended.is_set():
            async with session.post(f"{self._url}/v1/recommend", json=body) as response:
                await response.read()
                self.failed += response.status != 200

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        while not self._ended.is_set():
            number += 7
            began = time.perf_counter()
            async with session.get(f"{self._url}/v1/recommend?user_id=user-{number % self._users}") as response:
                await response.read()
                self.failed += response.status != 200
            self.waits_s.append(time.perf_counter() - began)


def _settings(bootstrap_servers: str, partitions: int) -> Settings:
    name = f"path-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": bootstrap_servers, "topic_prefix": f"{name}.", "group": name}
    return settings_from({"kafka": {**kafka, "partitions": partitions}})


def _shows(client: httpx.Client, url: str, item: str, what: str) -> bool:
    response = client.get(f"{url}/v1/items/{item}")
    return response.status_code == 200 and bool(response.json()[what])


def paced(count: int, rate: float) -> Iterator[int]:
    """0 … count-1 at `rate` a second."""
    began = time.perf_counter()
    for number in range(count):
        wait_s = began + number / rate - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        yield number


def send_frames(system: System, messages: Sequence[Message]) -> None:
    for message in messages:
        system.send(ENGAGEMENTS, message.key, message.value, message.partition)
