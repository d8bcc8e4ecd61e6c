"""Real workers as processes: started, killed, started again, and asked what they know."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
import msgspec
import numpy as np
from kafka import TopicPartition

from store.events import KINDS
from store.histories import UserRow
from store.items import ItemRow
from store.security import trust
from store.settings import Settings, to_toml
from stream.kafka.connections import reader
from stream.kafka.state_topics import POSITION_KEY
from stream.up.ports import free_port
from tests.waiting import PATIENCE_S


class WorkerProcess:
    """One `sidestream worker` with a data folder of its own."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        environment: dict[str, str] | None = None,
        drain_s: float = 0.0,
        data_dir: Path | None = None,
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        tls = settings.serving.tls
        self.url = f"{'https' if tls.certificate_file else 'http'}://127.0.0.1:{self.port}"
        self.trusted = trust(tls) or True
        self.log = folder / "worker.log"
        self._environment = environment or {}
        serving = msgspec.structs.replace(settings.serving, port=self.port, drain_s=drain_s)
        self.file = folder / "settings.toml"
        data = str(data_dir or folder / "data")
        self.file.write_text(to_toml(msgspec.structs.replace(settings, data_dir=data, serving=serving)))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        command = [sys.executable, "-m", "stream.cli", "worker", "--settings", str(self.file)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
            )

    def start_if_ended(self) -> None:
        """As a supervisor does."""
        if self.process is None or self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def remove(self) -> None:
        """It is gone, whether it runs, stands still or was never started."""
        if self.process is not None:
            self.kill()

    def pause(self) -> None:
        """It stands still, as SIGSTOP does it; the broker hears nothing of it until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def await_paused(self, timeout_s: float = PATIENCE_S) -> None:
        """Until it stands still by itself, at a crash point."""
        assert self.process is not None
        stat = Path(f"/proc/{self.process.pid}/stat")
        end = time.monotonic() + timeout_s
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, f"not standing still in {timeout_s} s"
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def get(self, path: str, **query: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", params=query, timeout=5.0, verify=self.trusted)

    def await_ready(self, timeout_s: float = PATIENCE_S) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            try:
                if self.get("/readyz").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert self.process is not None
            ended = self.process.poll()
            assert ended is None, f"ended with status {ended}: {self.log.read_text()[-3000:]}"
            time.sleep(0.1)
        raise AssertionError(f"not ready in {timeout_s} s: {self.log.read_text()[-3000:]}")


def await_committed(settings: Settings, timeout_s: float = PATIENCE_S) -> None:
    """Until the group has committed all that lies on engagements now, and then all that this has caused on
    item-signals. What comes meanwhile (canaries always do) is not waited for."""
    end = time.monotonic() + timeout_s
    for name in ("engagements", "item-signals"):
        places = [TopicPartition(settings.topic(name), p) for p in range(settings.kafka.partitions)]
        with reader(settings, places) as consumer:
            ends = consumer.end_offsets(places)
        while not _is_committed(settings, ends):
            assert time.monotonic() < end, f"the group did not reach the end of {name}"
            time.sleep(0.3)


def _is_committed(settings: Settings, ends: Mapping[TopicPartition, int]) -> bool:
    from stream.kafka.connections import admin_client

    with admin_client(settings) as admin:
        committed = admin.list_group_offsets([settings.kafka.group])[settings.kafka.group]
    return all(end == 0 or (place in committed and committed[place].offset >= end) for place, end in ends.items())


def read_topic(settings: Settings, name: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
    """Every (key, value) of one partition."""
    place = TopicPartition(settings.topic(name), partition)
    found: list[tuple[bytes | None, bytes | None]] = []
    with reader(settings, [place]) as consumer:
        end = consumer.end_offsets([place])[place]
        consumer.seek_to_beginning(place)
        while consumer.position(place) < end:
            for records in consumer.poll(timeout_ms=500).values():
                found += [(record.key, record.value) for record in records]
    return found


def published_histories(settings: Settings) -> dict[str, list[str]]:
    """Event ids by user as the state topic ends."""
    return {
        user: [entry.event_id for entry in row.entries] for user, row in _rows(settings, "user-states", UserRow).items()
    }


def published_counters(settings: Settings) -> dict[str, Counter[str]]:
    """Counters by item as the state topic ends."""
    return {
        item: Counter({KINDS[kind]: count for kind, count in row.counters.items()})
        for item, row in _rows(settings, "item-states", ItemRow).items()
    }


def published_vectors(settings: Settings) -> dict[str, np.ndarray]:
    """Learned vectors by item as the state topic ends, of items with positive engagements."""
    rows = _rows(settings, "item-states", ItemRow)
    return {item: row.vector_D().astype(np.float32) for item, row in rows.items() if row.positives}


def _rows(settings: Settings, name: str, kind: type) -> dict[str, object]:
    rows = {}
    for partition in range(settings.kafka.partitions):
        for key, value in read_topic(settings, name, partition):
            if key is not None and key != POSITION_KEY and value is not None:
                row = msgspec.msgpack.decode(value, type=kind)
                known = rows.get(key.decode())
                if known is None or row.offset >= known.offset:
                    rows[key.decode()] = row
    return rows
