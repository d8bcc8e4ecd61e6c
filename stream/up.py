"""Up: everything on one machine. Broker, worker and trainer are processes of their own; this one watches over them.

A child that ends is started again and goes on from the log. When this process ends, by a signal or a kill, its children
end too; started again on the same folder, everything goes on where it was, at the same addresses if they are free.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from store.settings import Settings, to_toml
from stream.kafka.connections import quiet_clients
from stream.kafka.topics import create_topics

READY_TIMEOUT_S = 60.0
ADDRESSES = "addresses.json"


class StartError(RuntimeError):
    """A part did not start: the message names its log; mend what it says and start again."""


@dataclass
class Child:
    """One process: how to start it, and the log it writes."""

    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: list[float] = field(default_factory=list)

    def start(self) -> None:
        self.starts = [at for at in self.starts if time.monotonic() - at < 60] + [time.monotonic()]
        if len(self.starts) > 5:
            raise StartError(f"the {self.name} ended five times within a minute: see {self.log}")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"OMP_NUM_THREADS": "1", **os.environ},  # the parts share the cores; more threads only wait
                preexec_fn=_die_with_parent,
            )

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self, timeout_s: float = 15.0) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Up:
    """The parts of one machine's system, in the order in which they start."""

    def __init__(self, settings: Settings, *, web_port: int | None, broker_port: int | None, embedded: bool) -> None:
        self.folder = Path(settings.data_dir).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        before = _read(self.folder / ADDRESSES)
        _end_leftovers(before)
        port = _port(web_port, _port_of(before.get("url")), settings.serving.port)
        serving = msgspec.structs.replace(settings.serving, port=port)
        kafka = settings.kafka
        self.broker_port = 0
        if embedded:
            self.broker_port = _port(broker_port, _port_of(before.get("bootstrap_servers")), 9092)
            kafka = msgspec.structs.replace(kafka, bootstrap_servers=f"127.0.0.1:{self.broker_port}")
        self.settings = msgspec.structs.replace(settings, data_dir=str(self.folder), serving=serving, kafka=kafka)
        self.url = f"http://{serving.host}:{port}"
        self.children: list[Child] = []
        self._embedded = embedded

    def start(self) -> None:
        """Returns when requests can be served."""
        (self.folder / "logs").mkdir(exist_ok=True)
        file = self.folder / "settings.toml"
        file.write_text(to_toml(self.settings))
        if self._embedded:
            data = str(self.folder / "broker")
            self._launch("broker", ["-m", "stream.broker", "--data-dir", data, "--port", str(self.broker_port)])
            self._await("broker", lambda: _answers(self.broker_port))
        quiet_clients()
        create_topics(self.settings)
        self._launch("worker", ["-m", "stream.cli", "worker", "--settings", str(file)])
        self._launch("trainer", ["-m", "stream.cli", "trainer", "--settings", str(file)])
        self._await("worker", lambda: _is_ready(self.url))
        self._write_addresses()

    def watch(self, stopped: Callable[[], bool]) -> None:
        """Starts children again that end, until `stopped`."""
        while not stopped():
            for child in self.children:
                if child.ended():
                    print(f"the {child.name} ended: starting it again", file=sys.stderr, flush=True)
                    child.start()
                    self._write_addresses()
            time.sleep(0.2)

    def stop(self) -> None:
        for child in reversed(self.children):
            child.stop()
        addresses = _read(self.folder / ADDRESSES)
        (self.folder / ADDRESSES).write_text(json.dumps({**addresses, "pids": {}, "stopped": True}))

    def addresses(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self.settings.kafka.bootstrap_servers,
            "url": self.url,
            "pid": os.getpid(),
            "pids": {child.name: child.process.pid for child in self.children if child.process},
            "data_dir": str(self.folder),
            "settings": str(self.folder / "settings.toml"),
        }

    def _launch(self, name: str, arguments: Sequence[str]) -> None:
        child = Child(name, [sys.executable, *arguments], self.folder / "logs" / f"{name}.log")
        self.children.append(child)
        child.start()

    def _await(self, name: str, ready: Callable[[], bool]) -> None:
        child = next(child for child in self.children if child.name == name)
        end = time.monotonic() + READY_TIMEOUT_S
        while not ready():
            if child.ended() or time.monotonic() > end:
                raise StartError(f"the {name} did not start: {_last_line(child.log)} (all of it: {child.log})")
            time.sleep(0.05)

    def _write_addresses(self) -> None:
        temporary = self.folder / f"{ADDRESSES}.new"
        temporary.write_text(json.dumps(self.addresses(), indent=1))
        temporary.rename(self.folder / ADDRESSES)


def run_up(settings: Settings, *, web_port: int | None, broker_port: int | None, embedded: bool, as_json: bool) -> None:
    """Runs until SIGTERM or SIGINT. Prints one line when it can serve."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: stopped.append(n))
    up = Up(settings, web_port=web_port, broker_port=broker_port, embedded=embedded)
    try:
        up.start()
        addresses = up.addresses()
        line = json.dumps(addresses) if as_json else f"ready {up.url} (Kafka at {addresses['bootstrap_servers']})"
        print(line, flush=True)
        up.watch(lambda: bool(stopped))
    finally:
        up.stop()


def _die_with_parent() -> None:
    """Linux: the child gets SIGTERM when this process ends, even by SIGKILL (prctl 1 is PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends them in order


def _end_leftovers(addresses: dict[str, Any]) -> None:
    """Waits for children of a killed predecessor to end, for they hold the folder; kills what does not."""
    end = time.monotonic() + 10
    for pid in (addresses.get("pids") or {}).values():
        while _is_ours(pid) and time.monotonic() < end:
            time.sleep(0.05)
        if _is_ours(pid):
            os.kill(pid, signal.SIGKILL)
            while _is_ours(pid):  # until it has let go of its port, which this start wants again
                time.sleep(0.01)


def _is_ours(pid: int) -> bool:
    try:
        return b"stream." in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def _port_of(address: object) -> int | None:
    tail = str(address or "").rpartition(":")[2]
    return int(tail) if tail.isdigit() else None


def _port(asked: int | None, before: int | None, default: int) -> int:
    """The asked port (0: any); else that of the last start, the default, or a free one, whichever is free first."""
    if asked:
        return asked
    if before and asked is None and _falls_silent(before):
        return before
    return default if asked is None and not _answers(default) else free_port()


def _falls_silent(port: int, within_s: float = 3.0) -> bool:
    """Whether nobody answers at `port`, now or soon: a killed process loses its memory, and so its name in /proc,
    before its sockets."""
    end = time.monotonic() + within_s
    while _answers(port):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    """A port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1.0).status_code == 200
    except httpx.HTTPError:
        return False


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"
