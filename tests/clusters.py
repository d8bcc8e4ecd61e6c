"""Brokers as real processes for tests and benchmarks: the embedded one, and real Kafka (KRaft).

Both are started from a folder, can be killed, paused and brought back on the same data and ports, and say where
clients connect (`bootstrap_servers`). Real Kafka needs `java` and a folder with Kafka's `libs`, named by
SIDESTREAM_TEST_KAFKA_HOME (default: `../shared/kafka` beside the repository).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"

ON_EMBEDDED = pytest.mark.parametrize(
    "cluster", ["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.long])], indirect=True
)
"""For what takes long: usually on one kind of broker, on both in the long suite."""
ON_KAFKA = pytest.mark.parametrize(
    "cluster",
    [pytest.param("kafka", marks=pytest.mark.kafka), pytest.param("embedded", marks=pytest.mark.long)],
    indirect=True,
)

_QUIET_LOGS = """Configuration:
  Appenders:
    Console:
      name: out
      target: SYSTEM_ERR
      PatternLayout: {pattern: "%d{ISO8601} %p %c{1} %m%n"}
  Loggers:
    Root:
      level: WARN
      AppenderRef: {ref: out}
    Logger:
      - {name: kafka.server.KafkaRaftServer, level: INFO}
      - {name: org.apache.kafka.common.config, level: ERROR}
"""
# A short-lived JVM on a small machine: a quick start matters more than peak speed.
_JVM = (
    "-Xmx512m",
    "-Xms128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
)


class BrokerStartError(RuntimeError):
    """A broker did not come up; the message ends with what it wrote last."""


class _Process:
    """One broker process: what all kinds of brokers can be put through."""

    def __init__(self, command: list[str], log: Path, env: Mapping[str, str]) -> None:
        self._command, self.log, self._env = command, log, dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._logged = 0

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker was not started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        self._logged = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as out:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._env, cwd=REPOSITORY
            )

    def wait_for(self, mark: str, seconds: float = PATIENCE_S) -> str:
        """The line with `mark` that this run of the broker wrote."""
        assert self._process is not None, "the broker was not started"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            written = self.log.read_bytes()[self._logged :].decode(errors="replace")
            for line in written.splitlines(keepends=True):
                if mark in line and line.endswith("\n"):
                    return line.strip()
            if self._process.poll() is not None:
                raise BrokerStartError(f"exited with {self._process.returncode}: {written[-1500:]}")
            time.sleep(0.02)
        raise BrokerStartError(f"no {mark!r} in {self.log} after {seconds:.0f} s: {written[-1500:]}")

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._signal(signal.SIGKILL)
        self._reap()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)

    def stop(self, seconds: float = PATIENCE_S) -> int | None:
        """SIGTERM; SIGKILL if that takes too long. The exit status."""
        if self._process is None:
            return None
        self.ask_to_stop()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.runs:
            self._process.send_signal(number)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()


class EmbeddedCluster:
    """`python -m stream.broker` on a folder; killed and restarted it keeps its port."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_ports(1)[0]
        command = [sys.executable, "-m", "stream.broker", "--data-dir", str(folder / "data"), "--port", str(self.port)]
        self._process = _Process(
            [*command, *arguments], folder / "broker.log", os.environ | {"PYTHONPATH": str(REPOSITORY)}
        )

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended; it may be paused."""
        return self._process.runs

    @property
    def log(self) -> str:
        """What the broker has written so far."""
        return self._process.log.read_text(errors="replace")

    def start(self) -> None:
        self._process.launch()
        self._process.wait_for("ready ")

    def restart(self) -> None:
        """Brings the broker back on its data, as KafkaCluster does."""
        self.start()

    def kill(self) -> None:
        self._process.kill()

    def pause(self) -> None:
        self._process.pause()

    def resume(self) -> None:
        self._process.resume()

    def stop(self) -> int | None:
        return self._process.stop()


class KafkaCluster:
    """One or three brokers of real Kafka, each its own controller; nodes are numbered from 1. `door` names the listener
    for clients; `doors` are further ones, by name, and their ports. `scram`: credentials."""

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        settings: Mapping[str, str] | None = None,
        *,
        door: str = "PLAINTEXT",
        doors: Mapping[str, int] | None = None,
        scram: Sequence[str] = (),
    ) -> None:
        self._door, self.doors, self._scram = door, dict(doors or {}), scram
        self.folder = folder
        self.home = kafka_home()
        self._ports = free_ports(2 * brokers)
        self._settings = dict(settings or {})
        self._nodes = {node: self._prepare(node, brokers) for node in range(1, brokers + 1)}

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{HOST}:{port}" for port in self._ports[: len(self._nodes)])

    def start(self) -> None:
        """Starts all brokers and waits until each of them serves."""
        for process in self._nodes.values():
            process.launch()
        for node in self._nodes:
            self._wait_ready(node)

    def restart(self, node: int = 1) -> None:
        """Brings one broker back on its data; after a kill the controller first waits out its old session."""
        self._nodes[node].launch()
        self._wait_ready(node)

    def kill(self, node: int = 1) -> None:
        self._nodes[node].kill()

    def stop_one(self, node: int) -> None:
        """SIGTERM: it hands its partitions over and ends."""
        self._nodes[node].stop()

    def pause(self, node: int = 1) -> None:
        self._nodes[node].pause()

    def resume(self, node: int = 1) -> None:
        self._nodes[node].resume()

    def pid(self, node: int = 1) -> int:
        return self._nodes[node].pid

    @property
    def runs(self) -> bool:
        """Whether no broker has ended; one may be paused."""
        return all(process.runs for process in self._nodes.values())

    def stop(self) -> None:
        for process in self._nodes.values():
            process.ask_to_stop()
        for process in self._nodes.values():
            process.stop(2.0)  # the last ones have no quorum left to say goodbye to

    def _wait_ready(self, node: int) -> None:
        self._nodes[node].wait_for("Kafka Server started")

    def _prepare(self, node: int, brokers: int) -> _Process:
        folder = self.folder / f"broker-{node}"
        folder.mkdir(parents=True)
        (folder / "log4j2.yaml").write_text(_QUIET_LOGS)
        properties = folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties(node, brokers).items()))
        java = ["java", *_JVM, f"-Dlog4j2.configurationFile={folder / 'log4j2.yaml'}", f"-Dkafka.logs.dir={folder}"]
        java += ["-cp", f"{self.home / 'libs'}/*"]
        cluster_id = urlsafe_b64encode(uuid.uuid5(uuid.NAMESPACE_URL, str(self.folder)).bytes).decode().rstrip("=")
        tool = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={properties}"]
        tool += [f"--add-scram={credential}" for credential in self._scram]
        formatted = subprocess.run(tool, capture_output=True, text=True, check=False)
        if formatted.returncode:
            raise BrokerStartError(f"formatting failed: {formatted.stdout[-800:]}{formatted.stderr[-800:]}")
        return _Process([*java, "kafka.Kafka", str(properties)], folder / "broker.log", os.environ)

    def _properties(self, node: int, brokers: int) -> dict[str, object]:
        servers, controllers = self._ports[:brokers], self._ports[brokers:]
        replicas, in_sync = min(3, brokers), min(2, brokers)
        return {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": ",".join(f"{i}@{HOST}:{port}" for i, port in enumerate(controllers, 1)),
            "listeners": ",".join(
                [f"{self._door}://{HOST}:{servers[node - 1]}", f"CONTROLLER://{HOST}:{controllers[node - 1]}"]
                + [f"{name}://{HOST}:{port}" for name, port in self.doors.items()]
            ),
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / f"broker-{node}" / "data",
            "num.partitions": 4,
            "auto.create.topics.enable": "false",
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "transaction.state.log.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 16 * 2**20,
            "message.max.bytes": 16 * 2**20,
            "broker.session.timeout.ms": 3000,  # a killed broker is missed, and may come back, the sooner
            "broker.heartbeat.interval.ms": 500,
            "controller.quorum.election.timeout.ms": 500,
            "controller.quorum.fetch.timeout.ms": 1000,
            "replica.fetch.max.bytes": 16 * 2**20,
        } | self._settings


def kafka_home() -> Path:
    """The folder that holds Kafka's `libs`."""
    return Path(os.environ.get("SIDESTREAM_TEST_KAFKA_HOME", REPOSITORY.parent / "shared" / "kafka"))


def use_kafka(home: Path) -> None:
    """Real Kafka from this folder, for a command. Raises `SystemExit` that says why it cannot be had."""
    os.environ["SIDESTREAM_TEST_KAFKA_HOME"] = str(home)
    if reason := why_no_kafka():
        raise SystemExit(reason)


def why_no_kafka() -> str | None:
    """Why real Kafka cannot run here, or None if it can."""
    if not any((kafka_home() / "libs").glob("kafka_2*.jar")):
        return f"no Kafka libs in {kafka_home()}: set SIDESTREAM_TEST_KAFKA_HOME to an unpacked Kafka"
    if shutil.which("java") is None:
        return "no `java` on the PATH: install a Java 17 runtime (Debian: openjdk-17-jre-headless)"
    return None


def cluster_of_its_own(kind: str, folder: Path) -> Iterator[EmbeddedCluster | KafkaCluster]:
    """For a fixture: a broker ("embedded" or "kafka") that no other test shares. Skips, with the reason."""
    if kind == "kafka" and (reason := why_no_kafka()):
        pytest.skip(reason)
    cluster = EmbeddedCluster(folder) if kind == "embedded" else KafkaCluster(folder)
    cluster.start()
    yield cluster
    cluster.stop()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment.

    Below the range from which the kernel takes clients' ports: a broker that is down must find its own port free.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex((HOST, port)) != 0:
                found.append(port)
    return found
