"""Swaps under load: two checkpoints that were really trained serve in turns, while requests are answered.

    python -m bench.swaps [--swaps 1000] [--per-s 50] [--json]

A worker and a trainer run on the embedded broker. Each swap announces another checkpoint (a new id, the folder of one
of the two), so each is loaded, checked and warmed, as after a run. No engagement comes meanwhile and nothing is
explored: what an answer holds is then a function of the user and the checkpoint. Before the swaps every user is asked
under both; each answer under load must be, to the line, what its user got from the checkpoint that it names. Told are
failed and mixed answers, the pause of each swap by the worker's log, what requests felt (beside a time without swaps),
and the worker's memory and file handles.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from store.checkpoints import CheckpointRecord
from tests.clusters import EmbeddedCluster
from tests.stream.serving.test_swap import System, small_settings
from tests.waiting import eventually

USERS = 40
ALONE_S = 20.0
SAMPLES = 20
Told = tuple[tuple[str, float, str, tuple[int, ...]], ...]
"""The lines of an answer: item, score, source, semantic ID."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`telling`: users whose answers differ between the two checkpoints. Memory (MiB) and file handles over the swaps,
    evenly spaced."""

    swaps: int
    seconds: float
    asked: int
    asked_per_s: float
    failed: int
    mixed: int
    telling: int
    users: int
    pause_p50_ms: float
    pause_p99_ms: float
    pause_most_ms: float
    p50_ms: float
    p99_ms: float
    alone_p50_ms: float
    alone_p99_ms: float
    records_told: int
    resident_mib: list[int]
    file_handles: list[int]


@dataclass(slots=True)
class Asked:
    """What requests met. `known`: the answers to expect, by the folder of a checkpoint and user; `folders`: by id."""

    known: Mapping[tuple[str, str], Told]
    folders: dict[str, str] = field(default_factory=dict)
    took_s: list[float] = field(default_factory=list)
    failed: int = 0
    mixed: int = 0
    serving: str = ""

    def note(self, user: str, status: int, body: bytes, took_s: float) -> None:
        self.took_s.append(took_s)
        if status != 200:
            self.failed += 1
            return
        checkpoint, lines = told(body)
        self.serving = checkpoint
        self.mixed += self.known.get((self.folders.get(checkpoint, ""), user)) != lines


def told(body: bytes) -> tuple[str, Told]:
    """The checkpoint and the lines of an answer."""
    answer = json.loads(body)
    lines = ((one["item_id"], one["score"], one["source"], tuple(one["semantic_id"])) for one in answer["items"])
    return answer["checkpoint"], tuple(lines)


class Asker(threading.Thread):
    """Asks for one user after the other, at a pace, over one connection."""

    def __init__(self, url: str, users: list[str], asked: Asked, per_s: float) -> None:
        super().__init__(daemon=True)
        self._address, self._users, self._asked, self._pause_s = urlsplit(url).netloc, users, asked, 1.0 / per_s
        self._ended = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        number, due_s = 0, time.monotonic()
        while not self._ended.is_set():
            user = self._users[number % len(self._users)]
            number += 1
            self._ask(connection, user)
            due_s = max(due_s + self._pause_s, time.monotonic() - 1.0)  # what is late by more is not asked at all
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _ask(self, connection: http.client.HTTPConnection, user: str) -> None:
        began = time.perf_counter()
        try:
            status, body = get(connection, user)
        except (OSError, http.client.HTTPException):
            connection.close()
            status, body = 0, b""
        self._asked.note(user, status, body, time.perf_counter() - began)

    def end(self) -> None:
        self._ended.set()
        self.join(60)


def get(connection: http.client.HTTPConnection, user: str) -> tuple[int, bytes]:
    connection.request("GET", f"/v1/recommend?user_id={quote(user)}")
    response = connection.getresponse()
    return response.status, response.read()


def answers(system: System, users: list[str]) -> dict[str, Told]:
    """What each user gets now. Raises `RuntimeError` where asking twice gives two answers."""
    connection = http.client.HTTPConnection(urlsplit(system.worker.url).netloc, timeout=30)
    first, second = ({user: told(get(connection, user)[1])[1] for user in users} for _ in range(2))
    if first != second:
        raise RuntimeError("answers change while nothing happens: let the worker come to rest first")
    return first


def offer(record: CheckpointRecord, checkpoint: str) -> CheckpointRecord:
    return msgspec.structs.replace(
        record, checkpoint=checkpoint, verdict="promoted", action="promote", published_at=time.time()
    )


def pauses_ms(log: str) -> list[float]:
    """How long each exchange took, by a worker's log."""
    return [float(found) for found in re.findall(r" → \S+ in (\S+) ms$", log, re.MULTILINE)]


def resident_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def file_handles(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def measure(swaps: int, per_s: float = 50.0, alone_s: float = ALONE_S) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        cluster = EmbeddedCluster(Path(folder) / "broker")
        cluster.start()
        system = None
        try:
            settings = small_settings(cluster.bootstrap_servers, Path(folder))
            quiet = msgspec.structs.replace(settings.serving, explore_share=0.0)
            system = System(msgspec.structs.replace(settings, serving=quiet), Path(folder))
            system.fill()
            return _measure(system, swaps, per_s, alone_s)
        finally:
            if system is not None:
                system.stop()
            cluster.stop()


def _measure(system: System, swaps: int, per_s: float, alone_s: float) -> Outcome:
    both = [system.record(system.train().checkpoint) for _ in range(2)]
    system.trainer.terminate()
    system.trainer.wait()
    eventually(lambda: not system.worker.get("/v1/status").json()["space_due"])
    users = system.users[:USERS]
    asked = Asked(_expected(system, both, users))
    asked.folders |= {record.checkpoint: record.location for record in both}
    telling = sum(asked.known[both[0].location, user] != asked.known[both[1].location, user] for user in users)
    askers = [Asker(system.worker.url, users[place::2], asked, per_s / 2) for place in range(2)]
    for asker in askers:
        asker.start()
    time.sleep(alone_s)
    alone_s_R, began = np.array(asked.took_s), time.monotonic()
    samples = _swap(system, both, asked, swaps)
    seconds = time.monotonic() - began
    for asker in askers:
        asker.end()
    took_s_R = np.array(asked.took_s[len(alone_s_R) :])
    pauses = pauses_ms(system.worker.log.read_text())
    return Outcome(
        swaps=swaps,
        seconds=seconds,
        asked=len(took_s_R),
        asked_per_s=len(took_s_R) / seconds,
        failed=asked.failed,
        mixed=asked.mixed,
        telling=telling,
        users=len(users),
        pause_p50_ms=float(np.percentile(pauses, 50)),
        pause_p99_ms=float(np.percentile(pauses, 99)),
        pause_most_ms=max(pauses),
        p50_ms=1000 * float(np.percentile(took_s_R, 50)),
        p99_ms=1000 * float(np.percentile(took_s_R, 99)),
        alone_p50_ms=1000 * float(np.percentile(alone_s_R, 50)),
        alone_p99_ms=1000 * float(np.percentile(alone_s_R, 99)),
        records_told=len(system.worker.get("/v1/checkpoints").json()["checkpoints"]),
        resident_mib=[resident for resident, _ in samples],
        file_handles=[handles for _, handles in samples],
    )


def _expected(system: System, both: list[CheckpointRecord], users: list[str]) -> dict[tuple[str, str], Told]:
    """What each user gets from each of the two, the second of which then serves."""
    known: dict[tuple[str, str], Told] = {}
    for record in both:
        system.say(offer(record, record.checkpoint))
        eventually(lambda record=record: system.serving() == record.checkpoint)  # type: ignore[misc]
        known |= {(record.location, user): lines for user, lines in answers(system, users).items()}
    return known


def _swap(system: System, both: list[CheckpointRecord], asked: Asked, swaps: int) -> list[tuple[int, int]]:
    """Memory and file handles of the worker on the way."""
    assert system.worker.process is not None
    pid, samples = system.worker.process.pid, []
    for number in range(swaps):
        checkpoint = f"swap-{number:06d}"
        asked.folders[checkpoint] = both[number % 2].location
        system.say(offer(both[number % 2], checkpoint))
        eventually(lambda checkpoint=checkpoint: asked.serving == checkpoint)  # type: ignore[misc]
        if number % max(1, swaps // SAMPLES) == 0:
            samples.append((resident_mib(pid), file_handles(pid)))
    return [*samples, (resident_mib(pid), file_handles(pid))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--per-s", type=float, default=50.0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = asdict(measure(chosen.swaps, chosen.per_s))
    print(json.dumps(found) if chosen.json else "\n".join(f"{name:16} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
